"""LLM2Rec's first step: a decoder writes the next item's title (He et al., KDD 2025, arXiv 2506.21579)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.errors import EncoderError
from recbole_ext.estimate import Estimate, Transformer
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.base import estimate_of
from recbole_ext.tuning.objectives.texts import TextObjective
from recbole_ext.tuning.settings import NextTitleSettings, TuneSettings

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Size

DIFFERENCE = 1e-3
"""Of a token's hidden state beside another next token, as a part of its length: what rounding may do."""


class NextTitle(TextObjective):
    """LLM2Rec's collaborative supervised fine-tuning: causal language modelling over a user's titles.

    The loss is −Σ log P(token | tokens before it in the title, titles before it in the sequence), over the tokens of
    every title but the first. The paper's samples are the prefixes of a sequence with the title that comes after each;
    with causal attention one pass over the sequence has the same terms. Every title ends with a line break, as the
    predicted one does in the public code (where commas stand between the others). A title is the item's text as
    ``encode`` reads it, cut to ``item_tokens`` tokens: the title alone where the dataset config's ``item_text`` has it.

    The head is the word embeddings where the decoder ties them, else its own, which stays as it is and is not part of
    the tuned folder. Left out: caps and scales that some architectures (Gemma 2, Granite) put on their logits.
    """

    def __init__(self, model: Any, token_ids: list[list[int]], settings: NextTitleSettings, corpus: Corpus) -> None:
        super().__init__(model, token_ids, settings, corpus)
        tokenizer = model.tokenizer
        texts = tokenizer(corpus.texts, add_special_tokens=False)["input_ids"]
        ends = tokenizer("\n", add_special_tokens=False)["input_ids"]
        if not ends:  # some tokenizers drop white space
            ends = [tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id]
        self.titles: list[list[int]] = [[], *(ids[: settings.item_tokens] + ends for ids in texts)]
        first = tokenizer("a")["input_ids"][0]
        self.begin = [first] if first == tokenizer.bos_token_id else []
        self.limit = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)
        self.own_head: Tensor | None
        self.register_buffer("own_head", None, persistent=False)

    @classmethod
    def build(cls, source: ResolvedEncoder, corpus: Corpus, settings: TuneSettings, checkpoint: Path | None) -> Self:
        objective = super().build(source, corpus, settings, checkpoint)
        _refuse_unless_causal(objective.base, source)
        if not objective.base.config.tie_word_embeddings:
            objective.own_head = _head_of(source)
        return objective

    @classmethod
    def estimate(cls, shape: Transformer, sources: Sequence[Size], settings: TuneSettings) -> Estimate:
        assert isinstance(settings, NextTitleSettings)
        items = sum(size.interactions - 2 * size.users for size in sources)
        users = sum(size.users for size in sources)
        pieces = max(items / (settings.max_items - 1), users)
        tokens = min(items / max(pieces, 1) * settings.item_tokens, settings.max_tokens)
        return estimate_of(shape, pieces, tokens, settings, masked=1.0)

    def examples(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        """Pieces of at most ``max_items`` items; each begins with the last item of the one before."""
        step = self.settings.max_items - 1
        return [
            sequence[begin : begin + step + 1] for sequence in sequences for begin in range(0, len(sequence) - 1, step)
        ]

    def lengths(self, examples: list[np.ndarray]) -> list[int]:
        return [min(sum(len(self.titles[row]) for row in rows), self.limit) for rows in examples]

    def collate(self, numbered: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        """A padded batch with row and column of each token that is to be guessed, ``[guessed]``."""
        ids, wanted = [], []
        for _, rows in numbered:
            titles = [self.titles[row] for row in rows]
            known = len(self.begin) + len(titles[0])
            whole = [*self.begin, *(token for title in titles for token in title)]
            ids.append(whole[-self.limit :])
            wanted.append(([False] * known + [True] * (len(whole) - known))[-self.limit :])
        batch = self.padded(ids)
        longest = batch["input_ids"].shape[1]
        guessed = torch.tensor([row + [False] * (longest - len(row)) for row in wanted])
        guessed[:, 0] = False  # nothing stands before it
        row, column = guessed.nonzero(as_tuple=True)
        return {"batch": batch, "row": row, "column": column}

    def forward(self, batch: dict[str, Tensor], row: Tensor, column: Tensor) -> dict[str, Tensor]:
        hidden = self.base(**batch).last_hidden_state[row, column - 1]
        head = self.base.get_input_embeddings().weight if self.own_head is None else self.own_head
        return {"loss": cross_entropy(linear(hidden, head).float(), batch["input_ids"][row, column])}


def _refuse_unless_causal(base: Any, source: ResolvedEncoder) -> None:
    words = len(base.get_input_embeddings().weight)
    token, one, other = (number % words for number in (words // 2, words // 3, words // 4))
    with torch.no_grad():
        ids = torch.tensor([[token, one], [token, other]])
        first = base.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 0].float()
    base.train()
    if (first[0] - first[1]).norm() > DIFFERENCE * first[0].norm():
        raise EncoderError(
            f"encoder {source.name!r} reads what comes after a token too, and next-title needs a decoder, which does "
            "not: choose one, or the objective pairs."
        )


def _head_of(source: ResolvedEncoder) -> Tensor:
    """The weight of a decoder's own language-model head, ``[vocabulary, width]``."""
    from transformers import AutoModelForCausalLM

    of_file = {"gguf_file": source.gguf_file} if source.gguf_file else {}
    model, report = AutoModelForCausalLM.from_pretrained(
        source.location, dtype=torch.float32, output_loading_info=True, **of_file, **source.where
    )
    head = model.get_output_embeddings()
    if head is None or any(model.get_parameter(name) is head.weight for name in report["missing_keys"]):
        raise EncoderError(
            f"encoder {source.name!r} has no language-model head, which next-title needs: choose the folder or "
            "repository of the whole decoder."
        )
    return head.weight.detach()
