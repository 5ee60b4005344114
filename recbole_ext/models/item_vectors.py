"""What the models share whose items are made of the vectors of the key ``item_embedding``."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import parametrize

from recbole_ext.attach import item_vectors, items_to_fit_on
from recbole_ext.attach.parametrizations import Frozen
from recbole_ext.errors import ConfigurationError
from recbole_ext.models.scoring import ScoredByItems


class FromItemVectors(ScoredByItems):
    """Mixed in before a RecBole model: its ``item_embedding.weight`` becomes a function of the store's vectors.

    The function is a parametrization, computed once per part of a batch for the whole item matrix, never once per
    position: cross-entropy over all items reads every item in every part, so that its distinct items are all of them.
    RecBole's ``forward`` goes on reading ``item_embedding`` as if it were a table.

    Attributes:
        item_vector_coverage: how many items the store covered; tells the hook that the store is in use already.
        fitted_on: see :func:`recbole_ext.attach.items_to_fit_on`.

    Raises:
        AttachError, StoreError: no store is named, or it does not fit; see :func:`recbole_ext.attach.item_vectors`.
        ConfigurationError: another loss than CE, or an ``item_embedding_mode``.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        self.read_scoring(config)
        if config["item_embedding_mode"] not in (None, "full"):
            raise ConfigurationError(
                f"item_embedding_mode: {type(self).__name__} decides itself what becomes of the vectors; leave the "
                "mode out."
            )
        vectors, self.item_vector_coverage = item_vectors(dataset, config)
        self.fitted_on = items_to_fit_on(dataset)
        parametrize.register_parametrization(self.item_embedding, "weight", self.item_function(vectors, config))

    def item_function(self, vectors: torch.Tensor, config: Any) -> Frozen:
        """What makes the item rows, ``[n_items - 1, width]``, of ``vectors``, ``[n_items - 1, dim]``."""
        raise NotImplementedError

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """The output after the last item, ``[batch, width]``; its dot product with ``scored_items`` is the score."""
        return self.scaled(super().forward(item_seq, item_seq_len))  # type: ignore[misc]
