"""Tables of users and items by token, csv or parquet: read in pieces with checks that name the row, and written so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.tables import FORMATS, NO_PYARROW, pieces_of, separator_of
from recbole_ext.writing import replacing_file

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    path: Path, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """Pieces of a table, their columns named as the keys of ``columns``; the index is the row, counted from 1.

    Tokens of csv are text as it stands there, those of parquet texts or whole numbers.

    Args:
        columns: what is wanted, and what it may be called; a type behind a colon, as in atomic files, may follow.
        optional: of these what need not be there.

    Raises:
        SourceDataError: no such file, no such column, or no table.
    """
    begin = 1
    for piece in pieces_of(path, SourceDataError):
        yield named(path, piece, columns, optional, begin)
        begin += len(piece)


def named(
    path: Path, table: pd.DataFrame, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = (), begin: int = 1
) -> pd.DataFrame:
    """A table whose columns are called as :func:`read_table` says, its rows numbered from ``begin``."""
    table = table.rename(columns=str)
    names = _names(path, list(table.columns), columns, optional)
    return table[list(names)].rename(columns=names).set_axis(range(begin, begin + len(table)))


def _names(
    path: Path, there: Sequence[str], columns: Mapping[str, Sequence[str]], optional: Sequence[str]
) -> dict[str, str]:
    names: dict[str, str] = {}
    for wanted, called in columns.items():
        fitting = [column for column in there if column.partition(":")[0] in called]
        if len(fitting) > 1:
            raise SourceDataError(f"{path}: {' and '.join(fitting)} are both the {wanted}; leave one.")
        if fitting:
            names[fitting[0]] = wanted
        elif wanted not in optional:
            raise SourceDataError(
                f"{path}: no column of the {wanted}: call it {' or '.join(dict.fromkeys(called))}; there are "
                f"{', '.join(there)}."
            )
    return names


def tokens_of(path: Path, column: pd.Series) -> pd.Series:
    """A column as texts.

    Raises:
        SourceDataError: a value that is neither a text nor a whole number; names the row.
    """
    import pandas

    if pandas.api.types.is_integer_dtype(column.dtype) and not column.hasnans:
        return column.astype(str)
    texts = column.astype(object)
    for row, value in texts[[not (isinstance(value, str) and value) for value in texts]].items():
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            continue
        raise SourceDataError(f"{path}, row {row}: the {column.name} is {value!r}; it is a text or a whole number.")
    return texts.astype(str)


def numbers_of(path: Path, column: pd.Series) -> np.ndarray:
    """A column as float64.

    Raises:
        SourceDataError: a value that is no finite number; names the row.
    """
    import pandas

    numbers = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(numbers).all():
        wrong = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise SourceDataError(
            f"{path}, row {column.index[wrong]}: the {column.name} is {column.iloc[wrong]!r}, which is no number."
        )
    return numbers


def ids_of(known: pd.Index, tokens: pd.Series) -> np.ndarray:
    """The place of each token among the ``known``, int64; −1 for none."""
    return np.asarray(known.get_indexer(tokens.to_numpy(dtype=object)))  # type: ignore[arg-type]


def check_writable(path: Path) -> None:
    """See that a table can be written as its name says.

    Raises:
        ConfigurationError: the name says no format, or pyarrow is missing.
    """
    if path.suffix not in FORMATS:
        raise ConfigurationError(f"--out {path}: a table ends with {', '.join(FORMATS)}.")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(f"--out {path}: writing {NO_PYARROW}") from error


@contextmanager
def writing_table(target: Path) -> Iterator[Any]:
    """Yield a function that appends a data frame to ``target``; the file is there whole, or not at all.

    Raises:
        WriteError: the disk is full, the folder can't be made, …
    """
    with replacing_file(target) as temporary:
        if target.suffix == ".parquet":
            with _ParquetTable(temporary) as table:
                yield table.append
            return
        begun = False
        with temporary.open("w", encoding="utf-8", newline="") as file:

            def append(frame: pd.DataFrame) -> None:
                nonlocal begun
                frame.to_csv(file, sep=separator_of(target), index=False, header=not begun)
                begun = True

            yield append


class _ParquetTable:
    """A parquet file that grows by data frames of the same columns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: Any = None

    def __enter__(self) -> _ParquetTable:
        return self

    def append(self, frame: pd.DataFrame) -> None:
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        if self.writer is None:
            self.writer = parquet.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()
