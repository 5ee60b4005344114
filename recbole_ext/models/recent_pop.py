"""Popularity of late: how often an item occurs at the end of the training split.

Late are, with ``recent_days``, the interactions of so many days before the training split's last one; with
``recent_interactions``, its last so many of all users together; with ``recent_per_user``, each user's last so many. The
first two compare the times of different users and need time stamps, in seconds for days. The third needs no more than
the order of each user's interactions, but takes what a user did last for recent however long ago it was. Times are
those of the file, also where RecBole normalises them. Ji et al., "A Re-visit of the Popularity Baseline in Recommender
Systems" (SIGIR 2020, arXiv 2005.13829), show why popularity of all time is a weak yardstick. Left out: their popularity
at the very time of each target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_ext.data.cuts import are_places
from recbole_ext.errors import ConfigurationError
from recbole_ext.models.untrained import Untrained, UntrainedTrainer, training_interactions

SECONDS_OF_A_DAY = 86_400
LAST_OF_A_USER = 5
KEYS = ("recent_days", "recent_interactions", "recent_per_user")
WAY_OUT = "Use recent_per_user, which needs no more than each user's order."


class RecentPop(Untrained):
    """Popularity of late; one of the keys ``recent_days``, ``recent_interactions`` and ``recent_per_user``, or
    ``recent_per_user: 5``.

    Raises:
        ConfigurationError: several of the keys, a value that is no number above 0, or a key that needs times
            where data have none.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        wanted = {key: value for key in KEYS if (value := _number(config, key)) is not None}
        if len(wanted) > 1:
            raise ConfigurationError(f"{' and '.join(wanted)}: RecentPop takes one of them. Leave the other out.")
        ((key, value),) = wanted.items() or [("recent_per_user", LAST_OF_A_USER)]
        users, items, times = training_interactions(dataset)
        if key == "recent_per_user":
            recent = _last_of_each_user(users, times, int(value))
        else:
            times = _comparable(users, times, key)
            recent = _last_days(times, value) if key == "recent_days" else _last(times, int(value))
        counts = np.bincount(items[recent], minlength=self.n_items)
        place = np.lexsort((self.shuffled.numpy(), counts)).argsort()
        self.place: torch.Tensor
        self.register_buffer("place", torch.from_numpy(place).float())

    def score(self, items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        return self.place.repeat(len(items), 1)


RecentPopTrainer = UntrainedTrainer


def _comparable(users: np.ndarray, times: np.ndarray | None, key: str) -> np.ndarray:
    """The times, if those of one user say something beside another's."""
    if times is None:
        raise ConfigurationError(f"{key}: the data have no times. {WAY_OUT}")
    order = np.lexsort((times, users))
    if are_places(users[order], times[order]):
        raise ConfigurationError(
            f"{key}: the times are no more than each interaction's place in its user's history, and do not compare. "
            f"{WAY_OUT}"
        )
    return times


def _last_days(times: np.ndarray, days: float) -> np.ndarray:
    span = float(times.max() - times.min()) / SECONDS_OF_A_DAY
    if span <= days:
        raise ConfigurationError(
            f"recent_days: all training interactions lie within {span:.3g} days, so that the last {days:g} leave none "
            "out. Choose fewer, or use recent_interactions, which needs no seconds."
        )
    return np.flatnonzero(times > times.max() - days * SECONDS_OF_A_DAY)


def _last(times: np.ndarray, last: int) -> np.ndarray:
    if len(times) <= last:
        raise ConfigurationError(
            f"recent_interactions: there are {len(times):,} training interactions, so that the last {last:,} leave none"
            " out. Choose fewer."
        )
    return np.argsort(times, kind="stable")[-last:]


def _last_of_each_user(users: np.ndarray, times: np.ndarray | None, last: int) -> np.ndarray:
    """Of interactions that come in each user's order where they have no times."""
    newest_first = np.lexsort((np.arange(len(users)) if times is None else times, users))[::-1]
    _, first, size = np.unique(-users[newest_first], return_index=True, return_counts=True)
    place = np.arange(len(users)) - np.repeat(first, size)
    return newest_first[place < last]


def _number(config: Any, key: str) -> float | None:
    value = config[key]
    if value is None:
        return None
    whole = key != "recent_days"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0:
        raise ConfigurationError(f"{key}: {value!r} is not a {'whole ' if whole else ''}number above 0.")
    return value
