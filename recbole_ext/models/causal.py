"""What the causal sequence models of this package share: tables of items and positions, a stack of layers, scores."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn

from recbole_ext.errors import ConfigurationError
from recbole_ext.models.scoring import ScoredByItems


class Layers(nn.Module):
    """Causal layers, one after the other; under this name and attribute ``frozen_blocks`` finds them."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self.layer:
            hidden = layer(hidden)
        return hidden


class CausalRecommender(ScoredByItems, SequentialRecommender):
    """A stack of causal layers over item vectors and learned positions, counted from the history's first item.

    A layer maps ``[batch, length, width]`` to the same shape and reads no later position, so that padding behind a
    history changes nothing and one row holds all its prefixes.

    Raises:
        ConfigurationError: another loss than CE, or heads that don't divide the width.
    """

    input_scale = 1.0
    """Of the item vectors before positions are added."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.read_scoring(config)
        self.loss_type, self.loss_fct = "CE", nn.CrossEntropyLoss()
        self.hidden_size: int = config["hidden_size"]
        if self.hidden_size % config["n_heads"]:
            raise ConfigurationError(
                f"n_heads: {self.hidden_size} (hidden_size) can't be cut into {config['n_heads']} equal heads."
            )
        self.initializer_range: float = config["initializer_range"]
        self.item_embedding = nn.Embedding(self.n_items, self.hidden_size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, self.hidden_size)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.trm_encoder = Layers([self.layer(config) for _ in range(config["n_layers"])])
        self.apply(self.initialise)

    def layer(self, config: Any) -> nn.Module:
        """One layer, ``[batch, length, width]`` to the same."""
        raise NotImplementedError

    def initialise(self, module: nn.Module) -> None:
        """As RecBole does it: weights are normal with ``initializer_range``, biases zero."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """The output after the last item, ``[batch, width]``; its dot product with ``scored_items`` is the score."""
        positions = self.position_embedding.weight[: item_seq.shape[1]]
        hidden = self.dropout(self.item_embedding(item_seq) * self.input_scale + positions)
        return self.scaled(self.gather_indexes(self.trm_encoder(hidden), item_seq_len - 1))
