"""AlphaFuse: Hu et al., "AlphaFuse: Learn ID Embeddings for Sequential Recommendation in Null Space of Language
Embeddings", SIGIR 2025 (arXiv 2504.19218).

The singular value decomposition of the language vectors' covariance orders the axes of their space by how much they
say about items. The vectors are written in these axes, cut to the model's width d and standardised, and stay fixed; ID
embeddings are learned in the last ``null_dim`` axes alone, where the language says next to nothing::

    v = (x - μ) U Λ^(-1/2), first d axes        item = v + [0, …, 0, e],  e in null_dim dimensions, e ~ N(0, 1) at first

so that learning never moves an item along the first d - null_dim axes. SASRec's transformer reads the items; the next
one is scored by the cosine over τ = 0.07, as in the public code. With ``cover`` the language's part of the null space
is dropped (v is zero there) instead of being added to.

Left out: the threshold on singular values as another way of choosing ``null_dim``, weighting items by popularity in the
decomposition, and the diffusion backbone. Differs: cross-entropy over all items, not over one sampled negative.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import nn
from torch.nn.functional import pad

from recbole_ext.attach.parametrizations import Frozen
from recbole_ext.errors import ConfigurationError
from recbole_ext.models.item_vectors import FromItemVectors
from recbole_ext.store.transforms import apply_transforms


class NullSpaceIds(Frozen):
    """Item rows are the fixed vectors plus a trainable part in the last ``null_dim`` columns.

    Args:
        vectors: ``[n_items - 1, width]``, in the axes of the decomposition.
    """

    def __init__(self, vectors: torch.Tensor, null_dim: int) -> None:
        super().__init__(vectors)
        self.ids = nn.Parameter(torch.randn(len(vectors), null_dim))

    def item_rows(self) -> torch.Tensor:
        return self.vectors + pad(self.ids, (self.vectors.shape[1] - self.ids.shape[1], 0))


class AlphaFuse(FromItemVectors, SASRec):
    """AlphaFuse; keys ``null_dim``, ``cover``, ``temperature`` and SASRec's."""

    def item_function(self, vectors: torch.Tensor, config: Any) -> Frozen:
        width, null_dim = self.hidden_size, config["null_dim"]
        if width > vectors.shape[1]:
            raise ConfigurationError(
                f"hidden_size: AlphaFuse keeps the {width} strongest axes of the vectors, which have only "
                f"{vectors.shape[1]}; set hidden_size to at most that."
            )
        if not 0 < null_dim <= width:
            raise ConfigurationError(f"null_dim: AlphaFuse needs 1 to {width}, the hidden_size; got {null_dim!r}.")
        language = apply_transforms(vectors, [{"pca": width}, "whiten"], self.fitted_on)
        if config["cover"]:
            language[:, width - null_dim :] = 0
        return NullSpaceIds(language, null_dim)
