"""Popularity of late: how often an item occurs at the end of the training split.

With ``recent_days`` the interactions of so many days before the training split's last one count; this needs time stamps
in seconds. With ``recent_interactions`` each user's last so many training interactions do, which needs no more than
their order. Ji et al., "A Re-visit of the Popularity Baseline in Recommender Systems" (SIGIR 2020, arXiv 2005.13829),
show why popularity of all time is a weak yardstick. Left out: their popularity at the very time of each target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_ext.errors import ConfigurationError
from recbole_ext.models.untrained import Untrained, UntrainedTrainer, training_interactions

SECONDS_OF_A_DAY = 86_400


class RecentPop(Untrained):
    """Popularity of late; keys ``recent_days`` or ``recent_interactions``.

    Raises:
        ConfigurationError: neither key or both, a value that is no number above 0, or days where data have no times.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        days, last = _number(config, "recent_days"), _number(config, "recent_interactions")
        if (days is None) == (last is None):
            raise ConfigurationError(
                "recent_days, recent_interactions: RecentPop needs one of the two, the other empty."
            )
        users, items, times = training_interactions(dataset)
        recent = _last_days(times, days) if days is not None else _last_of_each_user(users, times, int(last or 0))
        counts = np.bincount(items[recent], minlength=self.n_items)
        place = np.lexsort((self.shuffled.numpy(), counts)).argsort()
        self.place: torch.Tensor
        self.register_buffer("place", torch.from_numpy(place).float())

    def score(self, items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        return self.place.repeat(len(items), 1)


RecentPopTrainer = UntrainedTrainer


def _last_days(times: np.ndarray, days: float) -> np.ndarray:
    span = float(times.max() - times.min()) / SECONDS_OF_A_DAY
    if span <= days:
        raise ConfigurationError(
            f"recent_days: all training interactions lie within {span:.3g} days, so that the last {days:g} leave none "
            "out. If the times are places in a sequence and not seconds, use recent_interactions."
        )
    return np.flatnonzero(times > times.max() - days * SECONDS_OF_A_DAY)


def _last_of_each_user(users: np.ndarray, times: np.ndarray, last: int) -> np.ndarray:
    newest_first = np.lexsort((times, users))[::-1]
    _, first, size = np.unique(-users[newest_first], return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(first, size)
    return newest_first[place < last]


def _number(config: Any, key: str) -> float | None:
    value = config[key]
    if value is None:
        return None
    whole = key == "recent_interactions"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0:
        raise ConfigurationError(f"{key}: {value!r} is not a {'whole ' if whole else ''}number above 0.")
    return value
