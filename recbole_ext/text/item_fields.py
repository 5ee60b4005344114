"""The fields of items, read from a ``.item`` file as the atomic format says.

RecBole's own loader reads ``.item`` files with CSV quoting rules, under which a title that begins with ``"``
is an error and an unbalanced one swallows the lines after it. An atomic file has no quoting: a separator ends a
field, a newline ends a row, and every other character is text. That is how it is read here.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from recbole_ext.errors import SourceDataError
from recbole_ext.text.atomic import open_text, parse_header

logger = logging.getLogger(__name__)

TYPES_KEY = "types"  # in DataFrame.attrs: column name to atomic-file type


def read_item_fields(
    path: Path,
    item_field: str = "item_id",
    separator: str = "\t",
    seq_separator: str = " ",
    encoding: str | None = None,
) -> pd.DataFrame:
    """Read a ``.item`` atomic file (``name:type`` header) without quoting rules.

    Args:
        path: the ``.item`` file.
        item_field: the column that holds the item token.
        separator: what separates fields: RecBole's ``field_separator``.
        seq_separator: what separates the tokens of a ``token_seq``; in the fields they are separated by spaces.
        encoding: of the file, UTF-8 by default.

    Returns:
        One row per item in file order, indexed by item token; the columns are the other fields, named without
        their types; every value is a ``str``, ``""`` where the file has none. Of several rows for one item
        the first is kept, and the log says how many were not.

    Raises:
        SourceDataError: the file is missing, empty or in another encoding; its header lacks types or ``item_field``;
            it has no rows; a row has too few or too many fields or no item token (the message names the line).
    """
    with open_text(path, encoding) as lines:
        types = parse_header(path, lines.readline(), separator)
        names = list(types)
        if item_field not in types:
            raise SourceDataError(
                f"{path}, line 1: no column '{item_field}', only {', '.join(names)}. "
                f"Rename the item column, or set ITEM_ID_FIELD to its name."
            )
        item_column = names.index(item_field)
        rows: dict[str, list[str]] = {}
        duplicates = 0
        for number, line in enumerate(lines, start=2):
            line = line.rstrip("\r\n")
            if not line:
                continue
            row = line.split(separator)
            if len(row) != len(names):
                raise SourceDataError(
                    f"{path}, line {number}: {len(row)} fields, but the header names {len(names)} "
                    f"({', '.join(names)}). One separator ends a field; an empty field still needs its own."
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
    if seq_separator != " ":
        for name in names:
            if types[name] == "token_seq":
                fields[name] = [value.replace(seq_separator, " ") for value in fields[name]]
    fields.attrs[TYPES_KEY] = types
    return fields
