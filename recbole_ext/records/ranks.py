"""A user's rank as it is kept: the first place that the test item may stand in, and over how many places it is spread.

More than one place is where other items have the very score of the test item: it stands in each with equal probability.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_ext.writing import replacing_file


def ranks_beside(record: Path) -> Path:
    """The file of the ranks of the run whose record this is."""
    return record.with_suffix(".ranks.npy")


def write_ranks(record: Path, ranks: NDArray[np.integer]) -> None:
    """Write ``ranks``, as :func:`packed` makes them, beside this record."""
    with replacing_file(ranks_beside(record)) as temporary, temporary.open("wb") as file:
        np.save(file, ranks)


def alone(ranks: NDArray[np.integer]) -> NDArray[np.integer]:
    """Ranks that no tie spreads, ``[...]``, as ranks with the number of their places, ``[..., 2]``."""
    return np.stack([ranks, np.ones_like(ranks)], axis=-1)


def packed(ranks: NDArray[np.integer], maximum: int) -> NDArray[np.integer]:
    """Ranks ``[users, 2]`` as a file holds them: ``[users]`` where no item ties with another, else as they are.

    They are of the smallest unsigned type that holds ``maximum``, the largest K, and every number of places: uint8 up
    to 255.
    """
    kind = np.min_scalar_type(max(maximum, int(ranks[:, 1].max(initial=1))))
    return (ranks if (ranks[:, 1] > 1).any() else ranks[:, 0]).astype(kind)


def expected_worth(ranks: NDArray[np.integer], worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each user's item is worth on average over its places, ``[...]``.

    Args:
        ranks: ``[..., 2]``: first place from 1, 0 = beyond the last that counts, and number of places.
        worth: of each place that counts, ``[K + 1]``; at 0 what an item beyond them is worth.
    """
    first, spread = ranks[..., 0].astype(np.int64), ranks[..., 1].astype(np.int64)
    last = len(worth) - 1
    # One place is looked up rather than taken as a difference of sums, so that it is exact.
    one = worth[np.where(first > last, 0, first)]
    sums = np.concatenate([[0.0], np.cumsum(worth[1:])])
    begin, end = np.clip(first - 1, 0, last), np.clip(first - 1 + spread, 0, last)
    several = (sums[end] - sums[begin] + (spread - (end - begin)) * worth[0]) / spread
    return np.where((first == 0) | (spread == 1), one, several)
