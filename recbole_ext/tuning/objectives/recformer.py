"""RECFORMER's pre-training (Li et al., KDD 2023, section 2.3) and its two halves alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.errors import EncoderError
from recbole_ext.estimate import Estimate, Transformer, tokens_of_a_sequence
from recbole_ext.recformer.by_length import Parts, parts_by_length
from recbole_ext.recformer.encoder import BehaviourEncoder, load_behaviour_encoder
from recbole_ext.recformer.item_tokens import Batch, ItemTokens
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.base import Objective, estimate_of
from recbole_ext.tuning.objectives.contrast import in_batch_contrast, log_frequencies
from recbole_ext.tuning.objectives.masking import LanguageModelHead, mask_words

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Size


class Recformer(Objective):
    """Item–item contrast plus masked language modelling over flattened key–value sequences.

    A sequence is cut at a random position of its second half; what stands before is contrasted with the item at the
    cut (equation 7), and the words of both texts are masked and guessed (weight ``mlm_weight``), in forward passes of
    their own as in the public code. Differences from it: whole words are masked each with ``mask_probability``
    instead of a fixed count, other occurrences of a target in the batch are not negatives, the guess is computed at
    the masked tokens only, a sequence keeps at least one item before the cut, and the head that guesses begins with
    random weights instead of the Longformer's own, which ``AutoModel`` leaves aside.
    """

    contrasts: ClassVar[bool] = True
    masks: ClassVar[bool] = True

    log_frequency: Tensor | None

    def __init__(
        self,
        encoder: BehaviourEncoder,
        tokenizer: Any,
        tokens: ItemTokens,
        settings: Any,
        log_frequency: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.tokenizer, self.tokens, self.settings = encoder, tokenizer, tokens, settings
        self.mlm_weight = settings.mlm_weight if self.contrasts and self.masks else 1.0
        self.lm_head = LanguageModelHead(encoder.base) if self.masks else None
        self.register_buffer("log_frequency", log_frequency, persistent=False)

    @classmethod
    def build(cls, source: ResolvedEncoder, corpus: Corpus, settings: Any, checkpoint: Path | None) -> Objective:
        if settings.pooling == "last":
            raise EncoderError(f"pooling: {cls.__name__} reads whole sequences; choose cls or mean.")
        encoder, tokenizer, _ = load_behaviour_encoder(
            source, settings.max_items, settings.pooling, settings.trust_remote_code, settings.attention_window
        )
        if cls.masks and tokenizer.mask_token_id is None:
            raise EncoderError(
                f"encoder {source.name!r} has no mask token, which {cls.__name__} needs: choose the objective "
                "contrast or pairs, or another encoder."
            )
        if checkpoint is not None:
            encoder.load_checkpoint(checkpoint)
        encoder.words.weight.requires_grad_(not settings.freeze_words)
        longest = min(settings.max_tokens, encoder.longest)
        tokens = ItemTokens.of(corpus.attributes, tokenizer, settings.attribute_tokens, settings.max_items, longest)
        frequencies = None
        if cls.contrasts and settings.debias:
            frequencies = settings.debias * log_frequencies(corpus.sequences, len(corpus.texts))
        return cls(encoder, tokenizer, tokens, settings, frequencies)

    @classmethod
    def estimate(cls, shape: Transformer, sources: Sequence[Size], settings: Any) -> Estimate:
        """An example is a user's sequence and the item after it, read once plain and once masked as it is wanted."""
        users = sum(size.users for size in sources)
        history = sum(size.interactions - 2 * size.users for size in sources) // max(users, 1)
        tokens = sum(
            tokens_of_a_sequence(
                length, settings.attributes, settings.attribute_tokens, settings.max_items, settings.max_tokens
            )
            for length in (history, 1)
        )
        masked = settings.mask_probability if cls.masks else 0.0
        return estimate_of(shape, users, tokens, settings, readings=1 + (cls.contrasts and cls.masks), masked=masked)

    @property
    def base(self) -> Any:
        return self.encoder.base

    def added(self) -> list[nn.Parameter]:
        return self.encoder.added_embeddings

    def examples(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        return [sequence for sequence in sequences if len(sequence) > 1]

    def lengths(self, examples: list[np.ndarray]) -> list[int]:
        return self.tokens.lengths(examples).tolist()

    def collate(self, numbered: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        """``context`` and ``item`` batches in parts, each with its masked twin and row and column of the hidden tokens
        (``hidden_row``, ``hidden_column``), and the rows of the items, ``[B]``."""
        examples = [example for _, example in numbered]
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + numbered[0][0])
        cuts = [int(torch.randint(max(1, (len(e) - 1) // 2), len(e), (), generator=generator)) for e in examples]
        contexts = [example[:cut] for example, cut in zip(examples, cuts, strict=True)]
        targets = [example[cut : cut + 1] for example, cut in zip(examples, cuts, strict=True)]
        arguments: dict[str, Any] = {"item_rows": torch.from_numpy(np.concatenate(targets))}
        for name, sequences in (("context", contexts), ("item", targets)):
            batch = self.tokens.batch(sequences)
            self.tokens_read += int(batch["attention_mask"].sum())
            if self.masks:
                assert self.tokens.mask_id is not None
                batch["masked_ids"], batch["hidden"] = mask_words(
                    batch, self.settings.mask_probability, self.tokens.mask_id, len(self.tokenizer), generator
                )
            arguments[name] = self._parts(batch)
        return arguments

    def _parts(self, batch: Batch) -> Parts:
        parts = parts_by_length(batch, self.encoder.tokens_per_pass)
        for _, part in parts if self.masks else ():
            part["hidden_row"], part["hidden_column"] = part["hidden"].nonzero(as_tuple=True)
        return parts

    def item_vectors(self, rows: np.ndarray) -> Tensor:
        return self.encoder.encode_sequences(self.tokens, [np.array([row]) for row in rows])

    def history_vectors(self, histories: list[np.ndarray]) -> Tensor:
        return self.encoder.encode_sequences(self.tokens, histories)

    def forward(self, context: Parts, item: Parts, item_rows: Tensor) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=item_rows.device)
        if self.contrasts:
            vectors = self.encoder.pool_parts(context), self.encoder.pool_parts(item)
            losses["contrast"], losses["hits"] = in_batch_contrast(
                *vectors, item_rows, self.settings.temperature, self.log_frequency
            )
            total = total + losses["contrast"]
        if self.masks:
            losses["mlm"] = self._masked_loss(context) + self._masked_loss(item)
            total = total + self.mlm_weight * losses["mlm"]
        return {"loss": total, **losses}

    def _masked_loss(self, parts: Parts) -> Tensor:
        assert self.lm_head is not None
        hidden, ids = [], []
        for _, part in parts:
            place = part["hidden_row"], part["hidden_column"]
            hidden.append(self.encoder({**part, "input_ids": part["masked_ids"]})[place])
            ids.append(part["input_ids"][place])
        return self.lm_head(torch.cat(hidden), self.encoder.words.weight, torch.cat(ids))

    def save(self, folder: Path) -> None:
        settings = self.settings
        reading: dict[str, Any] = {"attribute_tokens": settings.attribute_tokens, "max_tokens": self.tokens.max_tokens}
        if settings.attributes:
            reading["attributes"] = list(settings.attributes)
        self.encoder.save(folder, self.tokenizer, reading)


class Contrast(Recformer):
    """RECFORMER's item–item contrast alone, the ablation without language modelling."""

    masks = False


class MaskedLanguageModel(Recformer):
    """RECFORMER's masked language modelling alone: domain text without behaviour's contrast."""

    contrasts = False
