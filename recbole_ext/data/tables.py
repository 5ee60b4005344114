"""Atomic files as tables: their columns, and whether every line is a row of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas._libs.parsers import STR_NA_VALUES

from recbole_ext.compat import read_atomic_table
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.text import open_text, parse_header
from recbole_ext.wording import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 24  # bytes that are looked at together


@dataclass(frozen=True)
class Table:
    """An atomic file.

    Attributes:
        path: the file.
        types: column to type, in the order of the file.
        separator: what separates its fields.
        encoding: of the file, ``None`` for UTF-8.
    """

    path: Path
    types: dict[str, str]
    separator: str = "\t"
    encoding: str | None = None

    @classmethod
    def of(cls, path: Path, settings: Mapping[str, Any]) -> Table:
        """The file at ``path`` under RecBole's keys.

        Raises:
            SourceDataError: it is missing, empty, or line 1 does not name columns with their types.
            ConfigurationError: an encoding that there is not, or that an atomic file can't be in.
        """
        separator, encoding = str(settings["field_separator"]), settings.get("encoding")
        try:
            is_like_ascii = "\r\n\t,".encode(encoding or "utf-8") == b"\r\n\t,"
        except LookupError:
            is_like_ascii = False
        if not is_like_ascii:
            raise ConfigurationError(
                f"encoding: {encoding!r} is none that an atomic file can be in. Save {path} as UTF-8, without the key."
            )
        with open_text(path, encoding) as file:
            return cls(path, parse_header(path, file.readline(), separator), separator, encoding)

    def require(self, column: str, role: str, types: Collection[str] = (), way_out: str = "") -> None:
        """See that there is such a column, of one of these types; ``role`` says in words what it is for.

        Raises:
            SourceDataError: there is not.
        """
        if column not in self.types:
            said = [f"{self.path}, line 1: no column {column!r}, {role}; there are {', '.join(self.types)}."]
            raise SourceDataError(" ".join(filter(None, [*said, did_you_mean(column, self.types), way_out])))
        if types and self.types[column] not in types:
            raise SourceDataError(
                f"{self.path}, line 1: the column {column!r}, {role}, is declared {self.types[column]}. "
                f"Write {column}:{next(iter(types))} there."
            )

    def read(self, columns: Iterable[str]) -> pd.DataFrame:
        """These columns as RecBole reads them: of types with ``float`` numbers, others as categories of text.

        (A ``float_seq`` is text.) A value is missing where the field is empty.

        Raises:
            SourceDataError: a value of a ``float`` column is not a number; names the line.
        """
        names = [name for name in self.types if name in set(columns)]
        kinds = {f"{name}:{self.types[name]}": np.float64 if self.types[name] == "float" else str for name in names}
        try:
            table = read_atomic_table(self.path, self.separator, kinds, self.encoding)
        except ValueError as error:
            raise self._not_a_number(names) or SourceDataError(f"{self.path} can't be read: {error}") from error
        table.columns = names
        return table

    def check_lines(self) -> None:
        """See that every line of the file is a row.

        Raises:
            SourceDataError: a line is not in the file's encoding, has too few or too many fields, or holds a character
                that RecBole takes for the end of a line or of the file; or there is no row.
        """
        mark, inner = self._mark(), len(self.types) - 1
        rows = before = 0
        with self.path.open("rb") as file:
            while lines := file.readlines(_BLOCK):
                block = b"".join(lines)
                try:
                    block.decode(self.encoding or "utf-8")
                except UnicodeDecodeError as error:
                    line = before + 1 + block.count(b"\n", 0, error.start)
                    name = (self.encoding or "utf-8").upper()
                    raise SourceDataError(
                        f"{self.path}, line {line}: not {name} ({error.reason}). Save the file as UTF-8, or set the "
                        "key `encoding` to the file's."
                    ) from error
                if b"\0" in block or block.count(b"\r") != block.count(b"\r\n"):
                    self._refuse_control_characters(lines, before)
                counts = [line.count(mark) for line in lines]
                if inner and counts.count(inner) == len(lines):
                    rows += len(lines)
                else:
                    rows += sum(self._is_row(line, before + at, mark) for at, line in enumerate(lines, start=1))
                before += len(lines)
        if rows < 2:
            raise SourceDataError(f"{self.path} has a header but no rows. Get or convert it again.")

    def line_of(self, row: int) -> int:
        """The line of a row, counted from 0: blank lines are none."""
        with self.path.open("rb") as file:
            mark = self._mark()
            numbers = (number for number, line in enumerate(file, start=1) if mark in line or line.strip())
            return next(number for at, number in enumerate(numbers) if at == row + 1)

    def _mark(self) -> bytes:
        return self.separator.encode(self.encoding or "utf-8")

    def _is_row(self, line: bytes, number: int, mark: bytes) -> bool:
        """Whether the line is one, or blank; else an error."""
        if line.count(mark) == len(self.types) - 1 and (mark in line or line.strip()):
            return True
        if mark in line or line.strip():
            raise SourceDataError(
                f"{self.path}, line {number}: {line.count(mark) + 1} fields, but the header names {len(self.types)} "
                f"({', '.join(self.types)}). One separator ends a field; an empty field still needs its own."
            )
        return False

    def _refuse_control_characters(self, lines: list[bytes], before: int) -> None:
        for number, line in enumerate(lines, start=before + 1):
            if b"\0" in line or b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
                raise SourceDataError(
                    f"{self.path}, line {number}: a zero byte or a carriage return inside the line, at which RecBole "
                    "would end a field or a row. Take it out."
                )

    def _not_a_number(self, names: Iterable[str]) -> SourceDataError | None:
        columns = list(self.types)
        numbers = [columns.index(name) for name in names if self.types[name] == "float"]
        with open_text(self.path, self.encoding) as file:
            for number, line in enumerate(file, start=1):
                fields = line.rstrip("\r\n").split(self.separator)
                for at in numbers if number > 1 and len(fields) == len(columns) else ():
                    try:
                        float("nan" if fields[at] in STR_NA_VALUES else fields[at])
                    except ValueError:
                        return SourceDataError(
                            f"{self.path}, line {number}: {fields[at]!r} is no number, and column {columns[at]!r} is "
                            "declared float. Write a number, nothing for a missing one, or declare it token."
                        )
        return None
