"""WhitenRec: Zhang et al., "Are ID Embeddings Necessary? Whitening Pre-trained Text Embeddings for Effective
Sequential Recommendation", ICDE 2024 (arXiv 2402.10602).

Text vectors of a PLM lie in a narrow cone. Whitening makes their covariance the identity, z = (x - μ) Φ with
Φᵀ cov(x) Φ = I; a perceptron with one hidden layer projects z to the model's width, and SASRec's transformer reads and
scores by dot product the result instead of ID embeddings.

The paper's Φ is ZCA's, D Λ^(-1/2) Dᵀ; here it is D Λ^(-1/2), which differs by a rotation that the first layer absorbs,
and axes without variance become zero. Left out: WhitenRec+, which adds a second, less whitened view (group whitening).
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import nn

from recbole_ext.attach.parametrizations import Frozen
from recbole_ext.models.item_vectors import FromItemVectors
from recbole_ext.store.transforms import apply_transforms


class Projection(Frozen):
    """Item rows are a perceptron of the whitened vectors: dropout, linear, ReLU, dropout, linear."""

    def __init__(self, whitened: torch.Tensor, width: int, dropout: float) -> None:
        super().__init__(whitened)
        self.project = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(whitened.shape[1], width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def rows_of(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.project(vectors)


class WhitenRec(FromItemVectors, SASRec):
    """WhitenRec; keys ``projection_dropout_prob`` and SASRec's."""

    def item_function(self, vectors: torch.Tensor, config: Any) -> Frozen:
        whitened = apply_transforms(vectors, ["whiten"], self.fitted_on)
        function = Projection(whitened, self.hidden_size, config["projection_dropout_prob"])
        return function.apply(self._init_weights)
