"""A parquet or csv table with a column of item tokens and its vectors in one column or in several."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import StoreError
from recbole_ext.store.widths import odd_one_out
from recbole_ext.tables import NAMELESS_INDEX, pieces_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


NAMELESS = r"Unnamed: \d+(\.\d+)?"
"""What pandas calls columns of csv without a name."""


def read_table_file(path: Path, ids: str | None, vectors: str | None) -> tuple[Tensor, list[str]]:
    """Read a table.

    Args:
        ids: the column of item tokens; whole numbers become their digits.
        vectors: the column that holds a list of numbers per row, in csv numbers between spaces; by default every other
            column is a dimension, and has a name.

    Returns:
        The vectors ``[rows, dim]``, float32, and the tokens; whether they make a store is not checked here.

    Raises:
        StoreError: no such columns, a dimension without a name, an item token that is missing, a vector that is none or
            of another width; names the row, counted from 1.
    """
    import pandas

    return _parsed(pandas.concat(pieces_of(path, StoreError), ignore_index=True), path, ids, vectors)


def width_of_table(path: Path, ids: str | None, vectors: str | None) -> int:
    """Width of the vectors of a table, by its first row.

    Raises:
        StoreError: as :func:`read_table_file`, of that row.
    """
    return _parsed(next(pieces_of(path, StoreError, rows=1)), path, ids, vectors)[0].shape[1]


def _parsed(table: pd.DataFrame, path: Path, ids: str | None, vectors: str | None) -> tuple[Tensor, list[str]]:
    import numpy
    import torch

    columns = [str(column) for column in table.columns]
    of_index = (
        " Its index has no name and is left out; where the tokens stand there: df.rename_axis('item_id').to_parquet(…)."
        if table.attrs.get(NAMELESS_INDEX)
        else ""
    )
    if ids is None:
        raise StoreError(
            f"{path}: which column holds the item tokens? Name it with `ids`; there are {', '.join(columns)}.{of_index}"
        )
    for key, name in (("ids", ids), ("vectors", vectors)):
        if name is not None and name not in columns:
            raise StoreError(f"{path}: {key}: there is no column {name!r}; there are {', '.join(columns)}.{of_index}")
    items = _tokens(table[ids], path)
    if vectors is not None:
        rows = [_vector(value, path, number) for number, value in enumerate(table[vectors], start=1)]
        if not rows:
            raise StoreError(f"{path}: the table has no rows.")
        if (odd := odd_one_out(rows)) is not None:
            place, width = odd
            raise StoreError(
                f"{path}, row {place + 1}: a vector of width {len(rows[place])}, where others have {width}."
            )
        return torch.from_numpy(numpy.stack(rows)), items
    others = table.drop(columns=ids)
    if nameless := [name for name in others.columns if re.fullmatch(NAMELESS, str(name))]:
        raise StoreError(
            f"{path}: column {columns.index(str(nameless[0])) + 1} has no name, as pandas writes row numbers: write "
            "the table with to_csv(..., index=False). Where it is a dimension, name it."
        )
    numbers = others.apply(_as_numbers)
    for column in others.columns:
        if numbers[column].isna().any():
            row = int(numbers[column].isna().to_numpy().argmax())
            raise StoreError(
                f"{path}, row {row + 1}: column {column!r} holds {_shown(others[column].iloc[row])}, which is no "
                "number. Where one column holds the vectors, name it with `vectors`."
            )
    return torch.from_numpy(numbers.to_numpy(dtype=numpy.float32, copy=True)), items


def _as_numbers(column: pd.Series) -> pd.Series:
    import pandas

    return pandas.to_numeric(column, errors="coerce")


def _tokens(column: pd.Series, path: Path) -> list[str]:
    tokens = []
    for number, value in enumerate(column, start=1):
        is_token = (isinstance(value, str) and value != "") or (_is_whole(value) and not isinstance(value, bool))
        if not is_token:
            raise StoreError(
                f"{path}, row {number}: the item token in column {column.name!r} is {_shown(value)}; it is a non-empty "
                "text or a whole number."
            )
        tokens.append(value if isinstance(value, str) else str(int(value)))
    return tokens


def _shown(value: Any) -> str:
    """The cell as a reader of the table knows it, whatever pandas makes of an empty one."""
    import numpy
    import pandas

    if pandas.api.types.is_scalar(value) and pandas.isna(value):
        return "missing"
    if isinstance(value, numpy.ndarray | list | tuple):
        return f"a list of {len(value)} values"
    shown = repr(value.item() if isinstance(value, numpy.generic) else value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"  # a vector written as text fills a screen


def _is_whole(value: Any) -> bool:
    import numbers

    return isinstance(value, numbers.Integral)


def _vector(value: Any, path: Path, number: int) -> Any:
    import numpy

    if (shown := _shown(value)) in ("missing", "''"):
        raise StoreError(f"{path}, row {number}: the vector is missing. Give one, or take the row out.")
    try:
        return numpy.asarray(value.split() if isinstance(value, str) else value, dtype=numpy.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{path}, row {number}: {shown} is no vector: {error}.") from None
