"""Histories that a file gives: user, item and perhaps the time of each interaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_ext.errors import SourceDataError
from recbole_ext.lists.table import ids_of, named, numbers_of, read_table, tokens_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Histories:
    """What users did, one user after the other, oldest first.

    Attributes:
        source: where they come from, for messages.
        users: tokens, in the order in which they first appear.
        begins: where each user's items begin, int64 ``[users]``.
        items: RecBole's internal ids, int64 ``[interactions]``.
        times: float64 ``[interactions]``, or ``None`` where none were given.
    """

    source: str
    users: np.ndarray
    begins: np.ndarray
    items: np.ndarray
    times: np.ndarray | None


def read_histories(source: Path | pd.DataFrame, items: np.ndarray, fields: Sequence[str]) -> Histories:
    """Read and check a file, or take a data frame of the same columns.

    The order is by time where there are times, of equal ones the file's, else the file's. An item may repeat.

    Args:
        items: item tokens by internal id; the first is padding.
        fields: the dataset's names of user, item and time, by which the columns may be called too.

    Raises:
        SourceDataError: a column or a value is missing, or an item that the run does not know; names the row.
    """
    import pandas

    user_field, item_field, time_field = fields
    columns = {
        "user": ("user", "user_id", user_field),
        "item": ("item", "item_id", item_field),
        "timestamp": ("timestamp", "time", time_field),
    }
    known = pandas.Index(items[1:].astype(object))
    users, ids, times = [], [], []
    optional = ["timestamp"]
    if isinstance(source, pandas.DataFrame):
        path, pieces = Path("histories"), iter([named(Path("histories"), source, columns, optional)])
    else:
        path, pieces = source, read_table(source, columns, optional)
    for piece in pieces:
        users.append(tokens_of(path, piece["user"]).to_numpy(dtype=object))
        tokens = tokens_of(path, piece["item"])
        found = ids_of(known, tokens)
        if (found < 0).any():
            wrong = tokens[found < 0]
            raise SourceDataError(
                f"{path}, row {wrong.index[0]}: {len(wrong):,} items are not among the {len(known):,} of the run's "
                f"dataset, the first {wrong.iloc[0]!r}. Take them out: the model has a vector for none of them."
            )
        ids.append(found + 1)
        if "timestamp" in piece:
            times.append(numbers_of(path, piece["timestamp"]))
    if not users or not sum(map(len, users)):
        raise SourceDataError(f"{path}: no rows.")
    number, who = pandas.factorize(np.concatenate(users))
    time = np.concatenate(times) if times else None
    # lexsort is stable: what is equal stays in the file's order.
    order = np.argsort(number, kind="stable") if time is None else np.lexsort((time, number))
    return Histories(
        source=str(path),
        users=np.asarray(who, dtype=object),
        begins=np.flatnonzero(np.diff(number[order], prepend=-1)),
        items=np.concatenate(ids)[order].astype(np.int64),
        times=None if time is None else time[order],
    )
