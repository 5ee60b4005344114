"""The average of several of a transformer's layers, as a module of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from recbole_ext.errors import ConfigurationError


class AverageLayers(nn.Module):
    """Replaces token embeddings by their mean over some layers' outputs.

    Args:
        layers: 0 are the word embeddings, 1 the first layer, -1 the last.
        depth: layers of the transformer.

    Raises:
        ConfigurationError: a layer that the transformer does not have.
    """

    def __init__(self, layers: Sequence[int], depth: int) -> None:
        super().__init__()
        for layer in layers:
            if not -depth - 1 <= layer <= depth:
                raise ConfigurationError(
                    f"average_layers: there is no layer {layer}; the encoder has {depth}, and 0 are word embeddings."
                )
        self.layers = list(layers)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        outputs = features["all_layer_embeddings"]
        features["token_embeddings"] = torch.stack([outputs[layer] for layer in self.layers]).mean(dim=0)
        return features
