"""LLMEmb's supervised contrastive fine-tuning (Liu et al., AAAI 2025, arXiv 2409.19925)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from recbole_ext.text import as_sentences
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.contrast import in_batch_contrast
from recbole_ext.tuning.objectives.item_contrast import ItemContrast
from recbole_ext.tuning.objectives.texts import token_ids
from recbole_ext.tuning.settings import AttributeContrastSettings


class AttributeContrast(ItemContrast):
    """An item is told from all others by a part of its attributes.

    Its text is made twice from its attributes, in a random order and without some of them (attribute-level
    augmentation); the two copies' vectors are contrasted in batch, in both directions: half the sum of
    −log(exp(s(uᵢ, vᵢ) / t) / Σⱼ exp(s(uᵢ, vⱼ) / t)) and the same with u and v exchanged. Attributes are the parts of
    the item's text as the dataset config's ``item_text`` names them, and at least one is kept; the copies of an item
    with one attribute differ by dropout alone.

    Left out: the paper's prompt before the attributes (the encoder reads here what ``encode`` gives it later), and its
    recommendation adaptation training, which is the recommender's. The public code has dot products over a learned
    temperature and softens the targets by the similarity of the copies; ``pooling: mean``, ``lora_rank: 8``.
    """

    def __init__(
        self, model: Any, token_ids: list[list[int]], settings: AttributeContrastSettings, corpus: Corpus
    ) -> None:
        super().__init__(model, token_ids, settings, corpus)  # type: ignore[arg-type]  # it has all that is read there
        self.parts = corpus.parts
        self.limit = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)

    def copies(self, rows: np.ndarray, draw: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        generator = np.random.default_rng([self.settings.seed, draw])
        first, second = ([self._augmented(self.parts[row - 1], generator) for row in rows] for _ in range(2))
        ids = token_ids(self.model, [*first, *second], self.limit)
        return self.batch(ids[: len(rows)]), self.batch(ids[len(rows) :])

    def forward(self, first: dict[str, Tensor], second: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        one, two = self.vectors_of(first), self.vectors_of(second)
        forward, hits = in_batch_contrast(one, two, rows, self.settings.temperature)
        backward, _ = in_batch_contrast(two, one, rows, self.settings.temperature)
        return {"loss": (forward + backward) / 2, "hits": hits}

    def _augmented(self, parts: list[str], generator: np.random.Generator) -> str:
        kept = len(parts) - int(self.settings.left_out * len(parts))
        return as_sentences([parts[number] for number in generator.permutation(len(parts))[: max(kept, 1)]])
