"""One file of a dataset as these keys load it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.data.files import columns_loaded, columns_read, history_column
from recbole_ext.data.tables import Table
from recbole_ext.errors import ConfigurationError, SourceDataError

if TYPE_CHECKING:
    import pandas as pd

_ASKED_FOR_ELSEWHERE = ("LABEL_FIELD", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")


@dataclass(frozen=True)
class Loaded:
    """An atomic file, and what of it is loaded.

    Attributes:
        types: column to type of what is loaded, in the order of the file.
        seq_separator: what separates the parts of a sequence.
    """

    table: Table
    types: dict[str, str]
    seq_separator: str

    @classmethod
    def of(cls, path: Path, keys: Mapping[str, Any]) -> Loaded:
        """The file at ``path`` under RecBole's keys, with nothing left out.

        Raises:
            SourceDataError: it is missing, has no header, or lacks a column that ``load_col`` names.
            ConfigurationError: an encoding that an atomic file can't be in.
        """
        table, suffix = Table.of(path, keys), path.suffix.removeprefix(".")
        # RecBole passes over a column that is not there: it may make the label itself, and without an order in time
        # it does without times. Ids, and times that are needed, are asked for with better words.
        others = {*(keys[key] for key in _ASKED_FOR_ELSEWHERE), history_column(keys)}
        for name in sorted((columns_read(keys, suffix) or set()) - others):
            table.require(name, "which load_col names")
        types = {name: table.types[name] for name in columns_loaded(table, keys, suffix)}
        return cls(table, types, keys["seq_separator"])

    def require(self, column: str, key: str, role: str, kind: str = "token", way_out: str = "") -> None:
        """See that there is such a column, of this type, and that it is loaded.

        Args:
            key: of RecBole, which names the column.
            role: what it is for, in words.
            way_out: what else can be done than to set the key, in words.

        Raises:
            SourceDataError: there is not.
            ConfigurationError: it is left out.
        """
        self.table.require(column, role, (kind,), f"Set {key} to the column that holds it{way_out}.")
        if column not in self.types:
            raise ConfigurationError(
                f"load_col or unload_col leaves out {column!r} of {self.table.path}, {role}. Load it."
            )

    @property
    def numbers(self) -> list[str]:
        """The columns that hold numbers."""
        return [name for name, kind in self.types.items() if kind == "float"]

    def read(self, ids: Collection[str], others: Iterable[str] = ()) -> pd.DataFrame:
        """The ids, all numbers and vectors, and ``others`` where there are such columns; every line has to be a row.

        Raises:
            SourceDataError: a line is no row, a row has no id, or a value is no number or no sequence of numbers; names
                the line.
        """
        self.table.check_lines()
        vectors = [name for name, kind in self.types.items() if kind == "float_seq"]
        frame = self.table.read([*ids, *self.numbers, *vectors, *others])
        for name in ids:
            self._check_ids(frame[name])
        for name in vectors:
            self._check_vectors(frame[name])
        return frame

    def _check_ids(self, column: pd.Series) -> None:
        missing = column.isna().to_numpy()
        if missing.any():
            raise SourceDataError(
                f"{self._line(missing)}: {column.name!r} is empty, and RecBole would leave the row out. Give an id, or "
                "take the row out."
            )
        if "[PAD]" in column.cat.categories:
            line = self._line((column == "[PAD]").to_numpy())
            raise SourceDataError(f"{line}: RecBole keeps '[PAD]' for itself. Give another id.")

    def _check_vectors(self, column: pd.Series) -> None:
        for value in column.cat.categories:
            try:
                [float(part) for part in value.split(self.seq_separator) if part]
            except ValueError:
                raise SourceDataError(
                    f"{self._line((column == value).to_numpy())}: {value[:40]!r} in column {column.name!r} is no "
                    f"sequence of numbers separated by {self.seq_separator!r}. Set seq_separator, or declare it "
                    "token_seq."
                ) from None

    def _line(self, rows: Any) -> str:
        """File and line of the first of ``rows``, bool ``[rows]``."""
        return f"{self.table.path}, line {self.table.line_of(int(rows.argmax()))}"
