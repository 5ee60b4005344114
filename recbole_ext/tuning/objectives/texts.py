"""What objectives share that read items' texts one by one, as the ``encode`` stage does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from recbole_ext.encoders.quiet import quiet_bars
from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.encoding.encoder import load_encoder
from recbole_ext.encoding.settings import EncodingSettings
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.moving import moved
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.base import Objective
from recbole_ext.tuning.settings import TuneSettings

ITEMS_OF_A_PASS = 64


def token_ids(model: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
    """What ``model.encode`` reads of each text, a prompt that it is published with included, up to ``limit`` tokens."""
    prompt = _own_prompt(model)
    whole, model.max_seq_length = model.max_seq_length, limit
    ids = []
    for begin in range(0, len(texts), ITEMS_OF_A_PASS):
        read = model.preprocess(list(texts[begin : begin + ITEMS_OF_A_PASS]), prompt=prompt)
        rows = zip(read["input_ids"], read["attention_mask"].bool(), strict=True)
        ids += [row[inside].tolist() for row, inside in rows]
    model.max_seq_length = whole  # which is saved with the tuned encoder
    return ids


def _own_prompt(model: Any) -> str | None:
    """What ``model.encode`` puts before every text where nothing is said."""
    return model.prompts.get(model.default_prompt_name) or None


class TextObjective(Objective):
    """Tunes any model that sentence-transformers loads, an encoder or a decoder.

    The texts are those of the ``encode`` stage, so the tuned folder is encoded just as the vanilla one.

    Args:
        token_ids: of each item's text, ``[items + 1]``; row 0 is empty.

    Attributes:
        same_text: the first item with the text of each, ``[items + 1]``.
    """

    def __init__(self, model: Any, token_ids: list[list[int]], settings: Any, corpus: Corpus) -> None:
        super().__init__()
        self.model, self.token_ids, self.settings = model, token_ids, settings
        first = {text: row for row, text in reversed(list(enumerate(corpus.texts, 1)))}
        self.same_text = np.array([0, *(first[text] for text in corpus.texts)])
        self.pad_id = model.tokenizer.pad_token_id
        prompt = _own_prompt(model)
        read = model.preprocess([""], prompt=prompt) if prompt else {}
        # Where a model is published to leave its prompt out of pooling, it has to be told how long that is.
        self.about_prompt = {key: read[key] for key in ("prompt_length",) if key in read}

    @classmethod
    def build(cls, source: ResolvedEncoder, corpus: Corpus, settings: TuneSettings, checkpoint: Path | None) -> Self:
        if checkpoint is not None:
            raise ConfigurationError("checkpoint: a RECFORMER state dict fits the objectives over sequences only.")
        if source.key_value_reading is not None:
            raise EncoderError(
                f"encoder {source.name!r} was tuned by RECFORMER's objectives and reads key–value pairs, and "
                f"{cls.__name__} tunes it on lines of text. Tune an encoder that reads plain text, or take the "
                "objective recformer, contrast or mlm."
            )
        reading = EncodingSettings(pooling=settings.pooling, trust_remote_code=settings.trust_remote_code)
        model = load_encoder(source, reading, device="cpu")
        if not hasattr(model[0], "auto_model"):
            raise EncoderError(
                f"encoder {source.name!r} begins with {type(model[0]).__name__}, not with a transformer."
            )
        words = model[0].auto_model.get_input_embeddings()
        words.weight.requires_grad_(not settings.freeze_words)
        limit = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)
        return cls(model, [[], *token_ids(model, corpus.texts, limit)], settings, corpus)

    @property
    def base(self) -> Any:
        return self.model[0].auto_model

    def vectors_of(self, batch: dict[str, Any]) -> Tensor:
        """Pooled vectors of a padded batch, ``[texts, width]``."""
        return self.model(dict(batch))["sentence_embedding"]

    def item_vectors(self, rows: np.ndarray) -> Tensor:
        order = np.argsort([-len(self.token_ids[row]) for row in rows], kind="stable")
        device = self.base.device
        pieces = []
        for begin in range(0, len(rows), ITEMS_OF_A_PASS):
            batch = self.batch_of(rows[order[begin : begin + ITEMS_OF_A_PASS]])
            pieces.append(self.vectors_of(moved(batch, device)))
        return torch.cat(pieces)[moved(torch.from_numpy(order).argsort(), device)]

    def save(self, folder: Path) -> None:
        with quiet_bars():
            self.model.save(str(folder), create_model_card=False)

    def lengths(self, examples: list[np.ndarray]) -> list[int]:
        return [sum(len(self.token_ids[row]) for row in rows) for rows in examples]

    def batch_of(self, rows: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """The texts of some items; see :meth:`batch`."""
        return self.batch([self.token_ids[row] for row in rows])

    def batch(self, ids: Sequence[list[int]]) -> dict[str, Any]:
        """What :func:`token_ids` gives of some texts, padded, and how long the prompt before each is."""
        return {**self.padded(ids), **self.about_prompt}

    def padded(self, ids: Sequence[list[int]]) -> dict[str, Tensor]:
        """Token ids with their mask, ``[texts, longest]`` each."""
        self.tokens_read += sum(map(len, ids))
        longest = max(map(len, ids))
        padded = torch.tensor([row + [self.pad_id] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        return {"input_ids": padded, "attention_mask": mask}
