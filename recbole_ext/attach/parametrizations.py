"""How ``frozen``, ``adapter`` and ``residual`` make a model's item matrix from fixed vectors.

Each is a :mod:`torch.nn.utils.parametrize` parametrization of an embedding's weight: the model goes on reading
``item_embedding(items)`` and ``item_embedding.weight`` and needs no line of its own. Rows that are no items
(padding in front, BERT4Rec's mask behind) stay the model's own trainable rows in every mode.
"""

from __future__ import annotations

import torch
from torch import nn


class Frozen(nn.Module):
    """Item rows are the fixed vectors and never change; only the special rows remain as parameters.

    Args:
        vectors: ``[n_items - 1, width]``, in the order of RecBole's internal item ids from 1.
        first: row of the first item.
    """

    def __init__(self, vectors: torch.Tensor, first: int = 1) -> None:
        super().__init__()
        self.first = first
        self.vectors: torch.Tensor
        self.register_buffer("vectors", vectors.clone())

    def item_rows(self) -> torch.Tensor:
        """The item vectors as the model sees them, ``[n_items - 1, model width]``."""
        return self.vectors

    def forward(self, special: torch.Tensor) -> torch.Tensor:
        return torch.cat([special[: self.first], self.item_rows(), special[self.first :]])

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """What of the model's own matrix stays a parameter: what stands before the first item and after the last."""
        return torch.cat([weight[: self.first], weight[self.first + len(self.vectors) :]])


class Adapter(Frozen):
    """A trainable linear map of the fixed vectors to the model's width: ``e_i = W v_i + b``, shared by all items."""

    def __init__(self, vectors: torch.Tensor, width: int, first: int = 1) -> None:
        super().__init__(vectors, first)
        self.project = nn.Linear(vectors.shape[1], width)

    def item_rows(self) -> torch.Tensor:
        return self.project(self.vectors)


class Residual(nn.Module):
    """The fixed vectors plus a trainable difference that starts at zero: ``e_i = v_i + d_i``."""

    def __init__(self, vectors: torch.Tensor, first: int = 1) -> None:
        super().__init__()
        self.first, self.end = first, first + len(vectors)
        self.vectors: torch.Tensor
        self.register_buffer("vectors", vectors.clone())

    def forward(self, difference: torch.Tensor) -> torch.Tensor:
        items = self.vectors + difference[self.first : self.end]
        return torch.cat([difference[: self.first], items, difference[self.end :]])

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """The special rows as they are, a zero difference for every item."""
        difference = weight.clone()
        difference[self.first : self.end] = 0
        return difference
