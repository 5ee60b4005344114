"""Lists that any system made: user, item, and rank or score, checked against a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import SourceDataError
from recbole_ext.lists.table import ids_of, named, numbers_of, read_table, tokens_of
from recbole_ext.wording import some

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "user": ("user", "user_id"),
    "item": ("item", "item_id"),
    "rank": ("rank",),
    "score": ("score",),
}


@dataclass(frozen=True)
class GivenLists:
    """Lists, a user's rows one after the other, the best first.

    Attributes:
        user, item: internal ids, int64 ``[rows]``, sorted by user, then place.
        place: where the item stands, from 1; of items of one score without ranks, by their ids, int64 ``[rows]``.
        first: the first place that the item may stand in, from 1, int64 ``[rows]``.
        spread: how many places it may stand in: as many as items of the list have its very score.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    place: NDArray[np.int64]
    first: NDArray[np.int64]
    spread: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items listed, by internal user id up to the largest that has a list."""
        return np.bincount(self.user)


def read_lists(source: Path | pd.DataFrame, users: np.ndarray, items: np.ndarray) -> GivenLists:
    """Read and check lists; see :class:`GivenLists`.

    A ``rank`` is the place, from 1; without, the order is that of falling scores. Items of one score stand in each of
    their places with equal probability, in a run's own evaluation as here.

    Args:
        users, items: tokens by internal id; the first is padding.

    Raises:
        SourceDataError: neither rank nor score, an unknown user or item, an item listed twice, a place taken twice, a
            rank that is no whole number from 1 to the number of items, or scores that contradict the ranks; names the
            row or the user.
    """
    import pandas

    path = Path("lists") if isinstance(source, pandas.DataFrame) else source
    optional = ["rank", "score"]
    pieces = (
        iter([named(path, source, COLUMNS, optional)])
        if isinstance(source, pandas.DataFrame)
        else read_table(path, COLUMNS, optional)
    )
    known_users, known_items = pandas.Index(users[1:]), pandas.Index(items[1:])
    columns: dict[str, list[np.ndarray]] = {"user": [], "item": [], "rank": [], "score": []}
    for piece in pieces:
        if "rank" not in piece and "score" not in piece:
            raise SourceDataError(f"{path}: no column rank or score, so nothing says which item is better.")
        columns["user"].append(_ids(path, piece["user"], known_users, "users"))
        columns["item"].append(_ids(path, piece["item"], known_items, "items"))
        for column in optional:
            if column in piece:
                columns[column].append(numbers_of(path, piece[column]))
    if not columns["user"] or not sum(map(len, columns["user"])):
        raise SourceDataError(f"{path}: no rows.")
    whole = {name: np.concatenate(values) for name, values in columns.items() if values}
    ranks, scores = whole.get("rank"), whole.get("score")
    if ranks is not None:
        _refuse_ranks(path, ranks, len(known_items))
    user, item = whole["user"], whole["item"]
    _refuse_twice(path, user, item, ranks, users, items)
    falling = ranks if ranks is not None else -whole["score"]
    order = np.lexsort((item, falling, user))
    user, item = user[order], item[order]
    ranks, scores = (None if values is None else values[order] for values in (ranks, scores))
    begins = np.flatnonzero(np.diff(user, prepend=-1))
    if ranks is None:
        lengths = np.diff(begins, append=len(user))
        place = np.arange(len(user)) - np.repeat(begins, lengths) + 1
    else:
        place = ranks.astype(np.int64)
        _refuse_contradictions(path, user, place, scores, users)
    first, spread = _ties(user, place, scores)
    return GivenLists(user, item, place, first, spread)


def _ids(path: Path, column: pd.Series, known: pd.Index, what: str) -> NDArray[np.int64]:
    tokens = tokens_of(path, column)
    found = ids_of(known, tokens)
    if (found < 0).any():
        wrong = tokens[found < 0]
        rows = f"{len(wrong):,} {'row' if len(wrong) == 1 else 'rows'}"
        raise SourceDataError(
            f"{path}, row {wrong.index[0]}: {rows} with {what} that are not among the dataset's "
            f"{len(known):,}: {some(list(dict.fromkeys(wrong)))}. Tokens are wanted, as they stand in the atomic files "
            "and in `recbole-ext export-split`, not internal numbers."
        )
    return found.astype(np.int64) + 1


def _refuse_ranks(path: Path, ranks: NDArray[np.float64], n_items: int) -> None:
    wrong = np.flatnonzero((ranks < 1) | (ranks != np.floor(ranks)) | (ranks > n_items))
    if len(wrong):
        raise SourceDataError(
            f"{path}, row {wrong[0] + 1}: rank {ranks[wrong[0]]:g}: ranks are whole numbers from 1 to {n_items:,}, the "
            "number of items that are ranked."
        )


def _refuse_twice(
    path: Path,
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    ranks: NDArray[np.float64] | None,
    users: np.ndarray,
    items: np.ndarray,
) -> None:
    order = np.lexsort((item, user))
    twice = np.flatnonzero((np.diff(user[order]) == 0) & (np.diff(item[order]) == 0))
    if not len(twice):
        return
    one, other = sorted(order[twice[0] : twice[0] + 2])
    how = "" if ranks is None or ranks[one] == ranks[other] else f" with ranks {ranks[one]:g} and {ranks[other]:g}"
    raise SourceDataError(
        f"{path}, rows {one + 1} and {other + 1}: item {items[item[one]]} stands twice in the list of user "
        f"{users[user[one]]}{how}. An item has one place in a list."
    )


def _refuse_contradictions(
    path: Path, user: NDArray[np.int64], place: NDArray[np.int64], scores: NDArray[np.float64] | None, users: np.ndarray
) -> None:
    """Of rows sorted by user and place."""
    same = np.diff(user) == 0
    if (shared := np.flatnonzero(same & (np.diff(place) == 0))).size:
        raise SourceDataError(
            f"{path}: two items of user {users[user[shared[0]]]} have rank {place[shared[0]]}. A place holds one item; "
            "where items are equally good, give scores without ranks."
        )
    if scores is not None and (rising := np.flatnonzero(same & (np.diff(scores) > 0))).size:
        raise SourceDataError(
            f"{path}: user {users[user[rising[0]]]}: the item at rank {place[rising[0] + 1]} has a higher score than "
            f"the one at rank {place[rising[0]]}. Give ranks or scores, or make them agree."
        )


def _ties(
    user: NDArray[np.int64], place: NDArray[np.int64], scores: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First place and number of places of each row, of rows sorted by user and place."""
    if scores is None:
        return place, np.ones_like(place)
    # A group is a run of rows of one user and one score, at places without a gap.
    begins = np.ones(len(user), dtype=bool)
    begins[1:] = (np.diff(user) != 0) | (np.diff(scores) != 0) | (np.diff(place) != 1)
    group = np.cumsum(begins) - 1
    return place[begins][group], np.bincount(group)[group]


def rows_of(lists: GivenLists, n_items: int) -> Callable[[Any, Any], NDArray[np.int64]]:
    """A function from users and items, ``[pairs]`` each, to their row in the lists; −1 for none."""
    keys = lists.user * n_items + lists.item
    order = np.argsort(keys)
    keys = keys[order]

    def find(user: Any, item: Any) -> NDArray[np.int64]:
        wanted = np.asarray(user, dtype=np.int64) * n_items + np.asarray(item, dtype=np.int64)
        at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        return np.where(keys[at] == wanted, order[at], -1)

    return find
