"""ZESRec: Ding et al., "Zero-Shot Recommender Systems", 2021 (arXiv 2105.08318).

An item's universal embedding is one learned layer on its text vector, v = W x + b, shared by all items; a recurrent
network over the embeddings of a user's items gives u, and the next item is drawn from softmax(u · v). RecBole's
GRU4Rec is that network.

Left out: the Gaussian offsets of the items' and users' latent vectors from their embeddings (zero, as the paper sets
them for a new domain), training on another domain, and the hierarchy of sessions in the paper's other variant.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.gru4rec import GRU4Rec

from recbole_ext.attach.parametrizations import Adapter, Frozen
from recbole_ext.models.item_vectors import FromItemVectors


class ZESRec(FromItemVectors, GRU4Rec):
    """ZESRec trained on the target domain; keys are GRU4Rec's."""

    def item_function(self, vectors: torch.Tensor, config: Any) -> Frozen:
        return Adapter(vectors, self.embedding_size)
