"""How large a dataset is, counted in its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.compat import read_atomic_table
from recbole_ext.errors import SourceDataError
from recbole_ext.text import open_text, parse_header


@dataclass(frozen=True)
class Size:
    """Users, items and interactions; ``at_least``: interactions are not known, and no less than this."""

    users: int
    items: int
    interactions: int
    at_least: bool = False


def counted(paths: Sequence[Path], settings: Mapping[str, Any]) -> Size:
    """Distinct users and items, and the rows, of files of interactions under RecBole's keys.

    Raises:
        SourceDataError: a header can't be read, or lacks the user or the item.
    """
    ids: dict[str, set[str]] = {settings["USER_ID_FIELD"]: set(), settings["ITEM_ID_FIELD"]: set()}
    rows = 0
    separator, encoding = settings["field_separator"], settings.get("encoding")
    for path in paths:
        with open_text(path, encoding) as file:
            types = parse_header(path, file.readline(), separator)
        if absent := [name for name in ids if name not in types]:
            raise SourceDataError(f"{path}, line 1: no column {absent[0]!r}, only {', '.join(types)}.")
        columns = {f"{name}:{types[name]}": str for name in ids}
        table = read_atomic_table(path, separator, list(columns), columns, encoding)
        rows += len(table)
        for name, column in zip(ids, columns, strict=True):
            ids[name] |= set(table[column].dropna().unique())
    users, items = ids.values()
    return Size(len(users), len(items), rows)
