"""LLM2Rec's second step: an item told from all others by its text (He et al., KDD 2025, arXiv 2506.21579)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_ext.estimate import TOKENS_OF_A_TEXT, Estimate, Transformer
from recbole_ext.tuning.objectives.base import estimate_of
from recbole_ext.tuning.objectives.contrast import in_batch_contrast
from recbole_ext.tuning.objectives.texts import TextObjective
from recbole_ext.tuning.settings import TuneSettings

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Size


class ItemContrast(TextObjective):
    """The item-level contrast of LLM2Rec's item-level embedding modelling.

    An item is read twice, under two draws of dropout; with vectors u and v of the two readings, cosine s and a
    temperature t, the loss of item i in a batch is −log(exp(s(uᵢ, vᵢ) / t) / Σⱼ exp(s(uᵢ, vⱼ) / t)), as in SimCSE (Gao
    et al., EMNLP 2021). Items are those of the training sequences, each once an epoch; those with the same text are
    not each other's negatives.

    Left out: bidirectional attention and the masked next-token prediction that prepares a decoder for it, which comes
    before this in the paper (a folder with another attention is not what ``from_pretrained`` loads). In the public
    code the temperature is 0.1 and the dropout is that of the attention alone, 0.2.
    """

    @classmethod
    def estimate(cls, shape: Transformer, sources: Sequence[Size], settings: TuneSettings) -> Estimate:
        items = sum(size.items for size in sources)
        return estimate_of(shape, items, 2 * min(settings.max_tokens, TOKENS_OF_A_TEXT), settings)

    def examples(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        return list(np.unique(np.concatenate(sequences)).reshape(-1, 1)) if sequences else []

    def collate(self, numbered: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        rows = np.concatenate([row for _, row in numbered])
        first, second = self.copies(rows, numbered[0][0])
        return {"first": first, "second": second, "rows": torch.from_numpy(self.same_text[rows])}

    def copies(self, rows: np.ndarray, draw: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What is read of the items first and second."""
        return self.batch_of(rows), self.batch_of(rows)

    def forward(self, first: dict[str, Tensor], second: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        vectors = self.vectors_of(first), self.vectors_of(second)
        loss, hits = in_batch_contrast(*vectors, rows, self.settings.temperature)
        return {"loss": loss, "hits": hits}
