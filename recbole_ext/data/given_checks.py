"""Files that are split already: that they are of one dataset, share no row, and name no item that nothing knows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from recbole_ext.data.files import history_column, model_kind
from recbole_ext.data.tables import Table
from recbole_ext.errors import SourceDataError

if TYPE_CHECKING:
    import pandas as pd

    from recbole_ext.data.dataset import Dataset


def check_splits(dataset: Dataset, files: Mapping[str, pd.DataFrame], items: pd.DataFrame | None) -> list[str]:
    """What there is to say about files of training, validation and test.

    Args:
        files: by the ending of the file its rows: user, item, and time and history where there are.
        items: the ``.item`` file, where it is loaded.

    Raises:
        SourceDataError: two of them are of different datasets or share a row, or an item is known nowhere.
    """
    return _Splits(dataset, files, items).sentences()


class _Splits:
    def __init__(self, dataset: Dataset, files: Mapping[str, pd.DataFrame], items: pd.DataFrame | None) -> None:
        self.dataset, self.name, self.described = dataset, dataset.name, items
        self.user, self.item, self.time = dataset.user_field, dataset.item_field, dataset.time_field
        self.separator = dataset.effective_keys["seq_separator"]
        self.histories = history_column(dataset.effective_keys)
        columns = (self.user, self.item, self.time, self.histories)
        self.rows = {suffix: frame[[name for name in frame if name in columns]] for suffix, frame in files.items()}

    def sentences(self) -> list[str]:
        first, *others = self.rows
        for suffix in others:
            self._refuse_strangers(first, suffix)
        for one, other in itertools.combinations(self.rows, 2):
            self._refuse_shared_rows(one, other)
        unknown = {suffix: self._items_of(suffix) - self._items_of(first) for suffix in others}
        said = [self._said_of_unknown(first, suffix, found) for suffix, found in unknown.items() if found]
        had = f"an item that their user has in {self.name}.{first}"
        for suffix in others:
            said += self._said_of_rows(suffix, self._rows_without_history(suffix), "no history, and are not asked for")
            said += self._said_of_rows(suffix, self._rows_had(first, suffix), had)
        return said

    def _said_of_rows(self, suffix: str, count: int, have: str) -> list[str]:
        return [f"{self.name}.{suffix}: {count:,} of {len(self.rows[suffix]):,} rows have {have}"] if count else []

    def _rows_without_history(self, suffix: str) -> int:
        """Rows that are no sample of a sequential model: the history that they give is empty, or they are plain and the
        first of their user."""
        if model_kind(self.dataset.effective_keys) != "SEQUENTIAL":
            return 0
        rows = self.rows[suffix]
        if self.histories in rows:
            return int(rows[self.histories].isna().sum())
        plain = [frame for frame in self.rows.values() if self.histories not in frame]
        before = itertools.takewhile(lambda frame: frame is not rows, plain)
        known = {user for frame in before for user in frame[self.user].cat.categories}
        return int((~rows[self.user].cat.categories.isin(known)).sum())

    def _rows_had(self, first: str, suffix: str) -> int:
        """Rows with an item that their user has in the first file, in a row or in the history of one."""
        pairs = list(zip(self.rows[suffix][self.user], self.rows[suffix][self.item], strict=True))
        asked: dict[str, set[str]] = {}
        for user, item in pairs:
            asked.setdefault(user, set()).add(item)
        had: set[tuple[str, str]] = set()
        trained = self.rows[first]
        trained = trained[trained[self.user].isin(asked.keys())]
        histories = trained[self.histories] if self.histories in trained else itertools.repeat("")
        for user, item, history in zip(trained[self.user], trained[self.item], histories, strict=False):
            if theirs := asked.get(user):
                before = history.split(self.separator) if isinstance(history, str) else ()
                had.update((user, one) for one in theirs.intersection((item, *before)))
        return sum(pair in had for pair in pairs)

    def _refuse_strangers(self, one: str, other: str) -> None:
        for field in (self.user, self.item):
            ids, others = (self.rows[suffix][field].cat.categories for suffix in (one, other))
            if ids.isin(others).any():
                return
        raise SourceDataError(
            f"{self.dataset.folder}: {self.name}.{one} and {self.name}.{other} share no user and no item. They are of "
            "different datasets, or their ids are written differently."
        )

    def _refuse_shared_rows(self, one: str, other: str) -> None:
        rows, others = self.rows[one], self.rows[other]
        columns = [column for column in rows if column in others]
        if self.histories not in columns:  # of one file alone: what its histories hold is repeated, not shared
            rows, others = self._without_repeats(rows), self._without_repeats(others)
        text = [frame[columns].astype(str).drop_duplicates() for frame in (rows, others)]
        shared = text[0].merge(text[1], on=columns)
        if len(shared):
            row = ", ".join(f"{column} {shared[column].iloc[0]}" for column in columns)
            timeless = "" if self.time in columns else " If users repeat items, give the rows their times."
            raise SourceDataError(
                f"{self.dataset.folder}: {self.name}.{one} and {self.name}.{other} share {len(shared):,} rows, such as "
                f"{row}. What is to be found can't be learned from as well: take them out of one.{timeless}"
            )

    def _without_repeats(self, rows: pd.DataFrame) -> pd.DataFrame:
        if self.histories not in rows:
            return rows
        pairs = zip(rows[self.item].astype(str), rows[self.histories].astype(str), strict=True)
        return rows[[item not in history.split(self.separator) for item, history in pairs]]

    def _items_of(self, suffix: str) -> set[str]:
        """The items of the rows and of their histories."""
        rows = self.rows[suffix]
        found = set(rows[self.item].cat.categories)
        if self.histories in rows:
            for history in rows[self.histories].cat.categories:
                found.update(filter(None, history.split(self.separator)))
        return found

    def _said_of_unknown(self, first: str, suffix: str, unknown: set[str]) -> str:
        if nowhere := sorted(unknown - self._described_items()):
            raise SourceDataError(
                f"{self.dataset.folder / self.name}.{suffix} names {len(nowhere):,} items that neither "
                f"{self.name}.{first} nor {self.name}.item has, such as {', '.join(nowhere[:5])}. Correct their ids, "
                "take the rows out, or describe the items there."
            )
        return (
            f"{self.name}.{suffix}: {len(unknown):,} of its items are not in {self.name}.{first}, but in "
            f"{self.name}.item"
        )

    def _described_items(self) -> set[str]:
        """The items of the ``.item`` file, loaded or not; none where there is no file."""
        if self.described is None and self.dataset.item_file.is_file():
            table = Table.of(self.dataset.item_file, self.dataset.effective_keys)
            self.described = table.read([self.item]) if self.item in table.types else None
        return set() if self.described is None else set(self.described[self.item].cat.categories)
