"""Tables of users and items by token, csv or parquet: read in pieces with checks that name the row, and written so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.writing import replacing_file

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".parquet")
ROWS_AT_ONCE = 2**19
_NO_PYARROW = "parquet needs pyarrow: pip install pyarrow; or take csv."


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
    if path.suffix not in SUFFIXES:
        raise SourceDataError(f"{path}: a table ends with {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise SourceDataError(f"{path}: no such file.")
    read = _read_parquet if path.suffix == ".parquet" else _read_csv
    begin = 1
    try:
        for piece in read(path):
            yield named(path, piece, columns, optional, begin)
            begin += len(piece)
    except SourceDataError:
        raise
    except ImportError as error:
        raise SourceDataError(f"{path}: reading {_NO_PYARROW}") from error
    # Damage has as many types as there are readers below pandas.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceDataError(f"{path} can't be read as a table: {reason}.") from error


def named(
    path: Path, table: pd.DataFrame, columns: Mapping[str, Sequence[str]], optional: Sequence[str] = (), begin: int = 1
) -> pd.DataFrame:
    """A table whose columns are called as :func:`read_table` says, its rows numbered from ``begin``."""
    table = table.rename(columns=str)
    names = _names(path, list(table.columns), columns, optional)
    return table[list(names)].rename(columns=names).set_axis(range(begin, begin + len(table)))


def _read_csv(path: Path) -> Iterator[pd.DataFrame]:
    import pandas

    of_text: dict[str, Any] = {
        "sep": "\t" if path.suffix == ".tsv" else ",",
        "dtype": str,
        "keep_default_na": False,
        "encoding": "utf-8-sig",
    }
    # Of two columns with one name pandas calls the second another name, and it would go unseen.
    header = pandas.read_csv(path, header=None, nrows=1, **of_text).iloc[0]
    if (twice := header[header.duplicated() & (header != "")]).size:
        raise SourceDataError(f"{path}: two columns are called {twice.iloc[0]}; leave one.")
    for piece in pandas.read_csv(path, chunksize=ROWS_AT_ONCE, **of_text):
        # Of rows that are longer than the header pandas takes the first fields for an index.
        if not isinstance(piece.index, pandas.RangeIndex):
            raise SourceDataError(
                f"{path}: rows have more fields than the header's {len(header)} ({', '.join(header)}). Name every "
                "column, or take separators at the ends of lines out."
            )
        yield piece


def _read_parquet(path: Path) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        empty = True
        for batch in file.iter_batches(ROWS_AT_ONCE):
            empty = False
            table = batch.to_pandas()
            yield table.reset_index() if table.index.name is not None else table
        if empty:
            yield file.read().to_pandas()


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
    if path.suffix not in SUFFIXES:
        raise ConfigurationError(f"--out {path}: a table ends with {', '.join(SUFFIXES)}.")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(f"--out {path}: writing {_NO_PYARROW}") from error


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
                separator = "\t" if target.suffix == ".tsv" else ","
                frame.to_csv(file, sep=separator, index=False, header=not begun)
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
