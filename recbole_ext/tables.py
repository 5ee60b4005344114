"""Tables of users' own, csv or parquet, read in pieces; what is wrong with a file is said in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import RecboleExtError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".tsv", ".parquet")
ROWS_AT_ONCE = 2**19
NAMELESS_INDEX = "nameless index"
"""Among a piece's ``attrs`` where an index without a name was left out."""
NO_PYARROW = "parquet needs pyarrow: pip install pyarrow; or take csv."


def separator_of(path: Path) -> str:
    """What stands between the columns of a csv file of this name."""
    return "\t" if path.suffix == ".tsv" else ","


def pieces_of(path: Path, error: type[RecboleExtError], rows: int = ROWS_AT_ONCE) -> Iterator[pd.DataFrame]:
    """Pieces of a table, ``rows`` rows each but the last; one without rows where it has none.

    Values of csv are text as it stands there. A named index of parquet is a column, for ids often are one.

    Raises:
        RecboleExtError: of type ``error``: no such file, no table, two columns of one name, rows too long.
    """
    if path.suffix not in FORMATS:
        raise error(f"{path}: a table ends with {', '.join(FORMATS)}.")
    if not path.is_file():
        raise error(f"{path}: no such file.")
    read = _of_parquet if path.suffix == ".parquet" else _of_csv
    try:
        yield from read(path, error, rows)
    except RecboleExtError:
        raise
    except ImportError as missing:
        raise error(f"{path}: reading {NO_PYARROW}") from missing
    # Damage has as many types as there are readers below pandas.
    except Exception as damage:
        reason = (str(damage).strip() or type(damage).__name__).splitlines()[0]
        raise error(f"{path} can't be read as a table: {reason}.") from damage


def _of_csv(path: Path, error: type[RecboleExtError], rows: int) -> Iterator[pd.DataFrame]:
    import pandas

    of_text: dict[str, Any] = {
        "sep": separator_of(path),
        "dtype": str,
        "keep_default_na": False,
        "encoding": "utf-8-sig",
    }
    # Of two columns with one name pandas calls the second another name, and it would go unseen.
    header = pandas.read_csv(path, header=None, nrows=1, **of_text).iloc[0]
    if (twice := header[header.duplicated() & (header != "")]).size:
        raise error(f"{path}: two columns are called {twice.iloc[0]}; leave one.")
    for piece in pandas.read_csv(path, chunksize=rows, **of_text):
        # Of rows that are longer than the header pandas takes the first fields for an index.
        if not isinstance(piece.index, pandas.RangeIndex):
            raise error(
                f"{path}: rows have more fields than the header's {len(header)} ({', '.join(header)}). Name every "
                "column, or take separators at the ends of lines out."
            )
        yield piece


def _of_parquet(path: Path, error: type[RecboleExtError], rows: int) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if twice := [name for number, name in enumerate(names) if name in names[:number]]:
            raise error(f"{path}: two columns are called {twice[0]}; leave one.")
        begin = 0
        for batch in file.iter_batches(rows):
            yield _with_index(batch, file.schema_arrow.pandas_metadata, begin)
            begin += batch.num_rows
        if not begin:
            yield _with_index(file.read(), file.schema_arrow.pandas_metadata, begin)


def _with_index(part: Any, metadata: dict[str, Any] | None, begin: int) -> pd.DataFrame:
    """A part of a table from row ``begin`` on, with pandas's index as a column where it has a name.

    pandas stores an index of consecutive numbers in words alone, and one without a name under a name of its own.
    """
    table = part.to_pandas(ignore_metadata=True)
    for index in (metadata or {}).get("index_columns", ()):
        if isinstance(index, str):
            if re.fullmatch(r"__index_level_\d+__", index):
                table = table.drop(columns=index)
                table.attrs[NAMELESS_INDEX] = True
        elif index.get("name") is not None:
            first, step = index["start"] + begin * index["step"], index["step"]
            table.insert(0, index["name"], [first + step * row for row in range(len(table))])
    return table
