"""How ``frozen``, ``adapter``, ``bounded`` and ``dual`` make a model's item matrix from fixed vectors.

Each is a :mod:`torch.nn.utils.parametrize` parametrization of an embedding's weight: the model goes on reading
``item_embedding(items)`` and ``item_embedding.weight`` and needs no line of its own. Rows that are no items
(padding in front, BERT4Rec's mask behind) stay the model's own trainable rows in every mode.

A mode also says what an item is that training never saw, from its vector alone: ``rows_of``.
"""

from __future__ import annotations

import torch
from torch import nn


class Frozen(nn.Module):
    """Item rows are the fixed vectors and never change; only the special rows remain as parameters.

    Args:
        vectors: ``[n_items - 1, width]``, in the order of RecBole's internal item ids from 1; kept, not copied.
        first: row of the first item.
    """

    def __init__(self, vectors: torch.Tensor, first: int = 1) -> None:
        super().__init__()
        self.first, self.end = first, first + len(vectors)
        self.vectors: torch.Tensor
        self.register_buffer("vectors", vectors)

    def rows_of(self, vectors: torch.Tensor) -> torch.Tensor:
        """Items of which only the vectors are known, ``[items, dim]``, as the model sees them, ``[items, width]``."""
        return vectors

    def item_rows(self) -> torch.Tensor:
        """The dataset's items as the model sees them, ``[n_items - 1, width]``."""
        return self.rows_of(self.vectors)

    def forward(self, special: torch.Tensor) -> torch.Tensor:
        return torch.cat([special[: self.first], self.item_rows(), special[self.first :]])

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """What of the model's own matrix stays a parameter: what stands before the first item and after the last."""
        return torch.cat([weight[: self.first], weight[self.end :]])


class Adapter(Frozen):
    """A trainable linear map of the fixed vectors to the model's width: ``e_i = W v_i + b``, shared by all items."""

    def __init__(self, vectors: torch.Tensor, width: int, first: int = 1) -> None:
        super().__init__(vectors, first)
        self.project = nn.Linear(vectors.shape[1], width)

    def rows_of(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.project(vectors)


class Bounded(Frozen):
    """The fixed vectors plus a trainable difference of bounded norm: ``e_i = v_i + d_i``, ``‖d_i‖ ≤ radius``.

    Pembek et al., "Let It Go? Not Quite", RecSys 2025 (arXiv 2507.19473). The difference starts at zero and is put back
    on the ball before it is next read, which is after every step. An item without training interactions keeps its
    vector: all that would move it is that it is never the target.

    Args:
        radius: the largest norm of a difference.
        trained: which items training sees, bool ``[n_items - 1]``.
    """

    def __init__(self, vectors: torch.Tensor, radius: float, trained: torch.Tensor, first: int = 1) -> None:
        super().__init__(vectors, first)
        self.radius = radius
        self.trained: torch.Tensor
        self.register_buffer("trained", trained.clone())

    def forward(self, difference: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            rows = difference[self.first : self.end]
            rows.copy_(torch.renorm(rows * self.trained.unsqueeze(1), 2, 0, self.radius))
        items = self.vectors + difference[self.first : self.end]
        return torch.cat([difference[: self.first], items, difference[self.end :]])

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """The special rows as they are, a zero difference for every item."""
        difference = weight.clone()
        difference[self.first : self.end] = 0
        return difference


class Dual(Adapter):
    """The model's own embedding of every item, and beside it a linear map of the vectors that can stand in for it.

    After DenseRec (Lichtenberg et al., arXiv 2508.18442). In training an item takes the map instead of its own row with
    a probability, drawn for every item once per part of a batch, so that the map learns to mean what the rows mean; in
    evaluation items with training interactions have their own row, the others the map's. (DenseRec draws for every
    occurrence in a sequence; of its way of drawing nothing more could be read than its abstract says.)

    Args:
        width: the model's.
        probability: of taking the map in training.
        trained: which items training sees, bool ``[n_items - 1]``.
    """

    def __init__(
        self, vectors: torch.Tensor, width: int, probability: float, trained: torch.Tensor, first: int = 1
    ) -> None:
        super().__init__(vectors, width, first)
        self.probability = probability
        self.trained: torch.Tensor
        self.register_buffer("trained", trained.clone())

    def forward(self, own: torch.Tensor) -> torch.Tensor:
        if self.training:
            # Never an item that is not trained: all that the map would learn from it is that it is not the target.
            drawn = torch.rand(len(self.vectors), device=own.device) < self.probability
            by_vector = drawn & self.trained
        else:
            by_vector = ~self.trained
        items = torch.where(by_vector.unsqueeze(1), self.item_rows(), own[self.first : self.end])
        return torch.cat([own[: self.first], items, own[self.end :]])

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return weight
