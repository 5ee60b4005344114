"""Nearest neighbour in the vectors: how good are the vectors alone?

An item's score is the cosine of its vector with the user's last item's, both less the mean vector; the last item itself
comes last. An item that the store lacks and that got the mean vector (``item_embedding_missing: mean``) is like no
other: its cosines are 0. Nothing is trained and nothing is counted; there is no paper. The vectors are those of
``item_embedding`` after its ``item_embedding_transform``, and are centred after that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad

from recbole_ext.attach import item_vectors, items_to_fit_on
from recbole_ext.models.untrained import Untrained, UntrainedTrainer, last_items
from recbole_ext.store.transforms import directions


class NearestNeighbour(Untrained):
    """Nearest neighbour of the last item; no keys of its own.

    Raises:
        AttachError, StoreError: no store is named, or it does not fit; see :func:`recbole_ext.attach.item_vectors`.
    """

    reads_item_vectors = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        vectors, self.item_vector_coverage = item_vectors(dataset, config)
        self.directions: torch.Tensor
        centred = directions(vectors, ["center"], items_to_fit_on(dataset))
        self.register_buffer("directions", pad(centred, (0, 0, 1, 0)))

    def score(self, items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        last = last_items(items, length)
        return (self.directions[last] @ self.directions.T).scatter(1, last.unsqueeze(1), -2.0)  # below any cosine


NearestNeighbourTrainer = UntrainedTrainer
