"""Users' training histories as sources of behaviour read them: nothing of validation and test is among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import SourceDataError

if TYPE_CHECKING:
    import numpy as np


def numbered_histories(dataset: Dataset) -> tuple[list[str], list[np.ndarray]]:
    """The items of the training splits, sorted, and each user's training items as positions among them, oldest first.

    Raises:
        SourceDataError: the dataset is not there, can't be read, or has no training interactions.
    """
    import numpy as np

    histories = dataset.training_histories()
    if not any(len(history) for history in histories.numbers):
        raise SourceDataError(
            f"{dataset.name}: no user has a training interaction, for what each has is held out for validation and "
            "test; behaviour can't be learnt from it. Take a dataset with longer histories, or another split."
        )
    flat = np.concatenate(histories.numbers)
    taken = np.flatnonzero(np.bincount(flat))
    items = histories.tokens[taken].astype(str)
    in_order = np.argsort(items)
    place = np.empty(len(histories.tokens), dtype=np.int64)
    place[taken[in_order]] = np.arange(len(items))
    ends = np.cumsum([len(history) for history in histories.numbers])[:-1]
    return items[in_order].tolist(), np.split(place[flat], ends)


def pairs_within(histories: list[np.ndarray], window: int) -> tuple[np.ndarray, np.ndarray]:
    """Items, as positions, that stand at most ``window`` apart: the earlier and the later, ``[pairs]`` each."""
    import numpy as np

    flat = np.concatenate(histories)
    user = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    earlier, later = [flat[:0]], [flat[:0]]
    for distance in range(1, window + 1):
        same = user[:-distance] == user[distance:]
        if not same.any():
            break
        earlier.append(flat[:-distance][same])
        later.append(flat[distance:][same])
    return np.concatenate(earlier), np.concatenate(later)
