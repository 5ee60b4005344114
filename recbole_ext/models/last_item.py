"""Last-item repeat: the user's items again, the newest first; what a data set gives away where users repeat items.

The item at the k-th place from the end of the history scores 1 / k, its newest place counting, every other item
nothing: those stand in random order. There is no paper; where no user ever repeats an item, its metrics are chance or
below.
"""

from __future__ import annotations

import torch

from recbole_ext.models.untrained import Untrained, UntrainedTrainer


class LastItem(Untrained):
    """Last-item repeat; no keys."""

    def score(self, items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        place = length.unsqueeze(1) - torch.arange(items.shape[1], device=items.device)
        recency = torch.where(place > 0, 1 / place, 0.0)
        chance = 1e-9 * self.shuffled / self.n_items
        return chance.expand(len(items), -1).scatter_reduce(1, items, recency, "amax")


LastItemTrainer = UntrainedTrainer
