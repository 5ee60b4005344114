"""What the models share whose items are made of the vectors of the key ``item_embedding``."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from recbole_ext.attach import item_vectors
from recbole_ext.attach.parametrizations import Frozen
from recbole_ext.errors import ConfigurationError


class FromItemVectors:
    """Mixed in before a RecBole model: its ``item_embedding.weight`` becomes a function of the store's vectors.

    The function is a parametrization, computed once per step for the whole item matrix, never once per position:
    cross-entropy over all items reads every item in every step, so that the distinct items of a step are all of them.
    RecBole's ``forward`` goes on reading ``item_embedding`` as if it were a table.

    With the key ``temperature`` (τ) outputs and items are compared by their cosine over τ, without it by their dot
    product. Training minimises cross-entropy over all items.

    Attributes:
        item_vector_coverage: how many items the store covered; tells the hook that the store is in use already.

    Raises:
        AttachError, StoreError: no store is named, or it does not fit; see :func:`recbole_ext.attach.item_vectors`.
        ConfigurationError: another loss than CE, or an ``item_embedding_mode``.
    """

    item_embedding: torch.nn.Embedding

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        name = type(self).__name__
        if config["loss_type"] != "CE":
            raise ConfigurationError(f"loss_type: {name} is trained with CE; got {config['loss_type']!r}.")
        if config["item_embedding_mode"] not in (None, "full"):
            raise ConfigurationError(
                f"item_embedding_mode: {name} decides itself what becomes of the vectors; leave the mode out."
            )
        vectors, self.item_vector_coverage = item_vectors(dataset, config)
        self.temperature: float | None = config["temperature"]
        parametrize.register_parametrization(self.item_embedding, "weight", self.item_function(vectors, config))

    def item_function(self, vectors: torch.Tensor, config: Any) -> Frozen:
        """What makes the item rows, ``[n_items - 1, width]``, of ``vectors``, ``[n_items - 1, dim]``."""
        raise NotImplementedError

    def scored_items(self) -> torch.Tensor:
        """What the outputs are multiplied with, ``[n_items, width]``."""
        items = self.item_embedding.weight
        return items if self.temperature is None else normalize(items, dim=-1)

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """The output after the last item, ``[batch, width]``; its dot product with ``scored_items`` is the score."""
        output: torch.Tensor = super().forward(item_seq, item_seq_len)  # type: ignore[misc]
        return output if self.temperature is None else normalize(output, dim=-1) / self.temperature

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        with parametrize.cached():
            outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
            return self.loss_fct(outputs @ self.scored_items().T, interaction[self.POS_ITEM_ID])

    def predict(self: Any, interaction: Any) -> torch.Tensor:
        with parametrize.cached():
            outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
            return (outputs * self.scored_items()[interaction[self.ITEM_ID]]).sum(dim=-1)

    def full_sort_predict(self: Any, interaction: Any) -> torch.Tensor:
        with parametrize.cached():
            outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
            return outputs @ self.scored_items().T
