"""Scores of items by their dot product with the model's output, or by their cosine over a temperature."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from recbole_ext.errors import ConfigurationError


class ScoredByItems:
    """Mixed in before a sequential RecBole model with an ``item_embedding`` and a ``forward(items, lengths)``.

    With the key ``temperature`` (τ) outputs and items are compared by their cosine over τ, without it by their dot
    product. Training minimises cross-entropy over all items, unless ``training_loss`` names another loss.
    """

    item_embedding: torch.nn.Embedding
    temperature: float | None

    def read_scoring(self, config: Any) -> None:
        """Take ``loss_type``, which must be CE, and ``temperature``.

        Raises:
            ConfigurationError: another loss than CE.
        """
        if config["loss_type"] != "CE":
            raise ConfigurationError(
                f"loss_type: {type(self).__name__} is trained with CE; got {config['loss_type']!r}. Other losses go by "
                "training_loss."
            )
        self.temperature = config["temperature"]

    def scored_items(self) -> torch.Tensor:
        """What the outputs are multiplied with, ``[n_items, width]``."""
        items = self.item_embedding.weight
        return items if self.temperature is None else normalize(items, dim=-1)

    def scaled(self, output: torch.Tensor) -> torch.Tensor:
        """Outputs whose dot product with ``scored_items`` is the score, ``[..., width]``."""
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
