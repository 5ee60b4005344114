"""Reading a ``.item`` file as the atomic format says.

RecBole's own loader reads ``.item`` files with CSV quoting rules, under which a title that begins with ``"``
is an error and an unbalanced one swallows the lines after it. An atomic file has no quoting: a tab ends a
field, a newline ends a row, and every other character is text. That is how it is read here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pandas as pd

from recbole_ext.errors import SourceDataError

logger = logging.getLogger(__name__)

_TYPES = ("token", "token_seq", "float", "float_seq")
TYPES_KEY = "types"  # in DataFrame.attrs: column name to atomic-file type


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file for reading; a byte order mark is skipped, and only ``\\n`` ends a line.

    Raises:
        SourceDataError: the file is missing, empty or unreadable, or a line read inside the ``with`` block is
            not UTF-8 (the message names the line).
    """
    try:
        if path.is_dir():
            raise SourceDataError(f"{path} is a folder; a file is expected there.")
        if path.stat().st_size == 0:
            raise SourceDataError(f"{path} is empty. Get or convert it again.")
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield file
    except FileNotFoundError:
        raise SourceDataError(f"{path} doesn't exist. Check the path, or convert the dataset first.") from None
    except UnicodeDecodeError as error:
        raise SourceDataError(
            f"{path}, line {_undecodable_line(path)}: not UTF-8 ({error.reason}). Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise SourceDataError(f"{path} can't be read: {error.strerror or error}.") from error


def _undecodable_line(path: Path) -> int | str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return "?"  # the file changed under our hands


def read_item_fields(path: Path, item_field: str = "item_id") -> pd.DataFrame:
    """Read a ``.item`` atomic file (``name:type`` header, tab-separated) without quoting rules.

    Args:
        path: the ``.item`` file.
        item_field: the column that holds the item token.

    Returns:
        One row per item in file order, indexed by item token; the columns are the other fields, named without
        their types; every value is a ``str``, ``""`` where the file has none. Of several rows for one item
        the first is kept, and the log says how many were not.

    Raises:
        SourceDataError: the file is missing, empty or not UTF-8; its header lacks types or ``item_field``; it
            has no rows; a row has too few or too many fields or no item token (the message names the line).
    """
    with open_text(path) as lines:
        names, types = _parse_header(path, lines.readline(), item_field)
        item_column = names.index(item_field)
        rows: dict[str, list[str]] = {}
        duplicates = 0
        for number, line in enumerate(lines, start=2):
            line = line.rstrip("\r\n")
            if not line:
                continue
            row = line.split("\t")
            if len(row) != len(names):
                raise SourceDataError(
                    f"{path}, line {number}: {len(row)} fields, but the header names {len(names)} "
                    f"({', '.join(names)}). One tab separates fields; an empty field still needs its tab."
                )
            token = row.pop(item_column)
            if not token:
                raise SourceDataError(f"{path}, line {number}: '{item_field}' is empty. Name the item.")
            if token in rows:
                duplicates += 1
            else:
                rows[token] = row
    if not rows:
        raise SourceDataError(f"{path} has a header but no items. Get or convert it again.")
    if duplicates:
        logger.warning("%s: %d rows repeat an item that has a row already; the first is used.", path, duplicates)
    names.remove(item_field)
    index = pd.Index(list(rows), name=item_field, dtype=object)
    fields = pd.DataFrame(list(rows.values()), index=index, columns=names, dtype=object)
    fields.attrs[TYPES_KEY] = types
    return fields


def _parse_header(path: Path, header: str, item_field: str) -> tuple[list[str], dict[str, str]]:
    names: list[str] = []
    types: dict[str, str] = {}
    for column in header.rstrip("\r\n").split("\t"):
        name, _, kind = column.rpartition(":")
        if not name or kind not in _TYPES:
            raise SourceDataError(
                f"{path}, line 1: the header column '{column}' has no type. Every column is NAME:TYPE, with "
                f"a tab between columns and TYPE one of {', '.join(_TYPES)}; "
                f"for example '{item_field}:token<TAB>title:token_seq'."
            )
        if name in types:
            raise SourceDataError(f"{path}, line 1: the header names '{name}' twice. Rename or drop one column.")
        names.append(name)
        types[name] = kind
    if item_field not in types:
        raise SourceDataError(
            f"{path}, line 1: no column '{item_field}', only {', '.join(names)}. "
            f"Rename the item column, or set ITEM_ID_FIELD to its name."
        )
    return names, types
