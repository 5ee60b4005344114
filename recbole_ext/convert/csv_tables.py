"""Format ``csv``: ``interactions.csv`` (user_id, item_id, timestamp, optionally rating) and ``items.csv``.

Comma-separated with a header line and the usual quoting: a field that begins with a double quote or holds a
comma or a line end is put into double quotes, and a double quote inside it is doubled. ``items.csv`` has
``item_id`` and any number of text columns, whose names become fields of the ``.item`` file. Times are seconds, or
dates as in ISO 8601 (``2014-03-12`` or ``2014-03-12T10:00:00Z``), of which those without a zone are in UTC. An
empty rating is a missing one.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from recbole_ext.convert.source import SourceData, check_folder, check_token
from recbole_ext.errors import SourceDataError
from recbole_ext.text import open_text

# The csv module's limit of 131,072 characters a field is shorter than some product descriptions.
_LONGEST_FIELD = 2**30


def read(source: Path, name: str) -> SourceData:
    """Read ``interactions.csv`` and ``items.csv`` in folder ``source``; ``name`` plays no part.

    Rows of ``interactions.csv`` without a user or an item (visitors nobody knew) are dropped and counted.

    Raises:
        SourceDataError: a file or a required column is missing, or a row is malformed (the line is named).
    """
    check_folder(source, "interactions.csv and items.csv")
    interactions, dropped, not_read = _read_interactions(source / "interactions.csv")
    items, duplicates = _read_items(source / "items.csv")
    return SourceData(interactions, items, duplicates, dropped=dropped, not_read=not_read)


def _read_interactions(path: Path) -> tuple[pd.DataFrame, dict[str, int], dict[str, int]]:
    """The table, what was dropped, and the columns that were not read."""
    rows = _rows(path, required=("user_id", "item_id", "timestamp"))
    _, header = next(rows)
    user_column, item_column = header.index("user_id"), header.index("item_id")
    numbers = {column: array("d") for column in ("timestamp", "rating") if column in header}
    columns = [(name, header.index(name), values) for name, values in numbers.items()]
    readers: dict[str, Callable[[str, str], float]] = {"rating": _rating}
    users: list[str] = []
    items: list[str] = []
    tokens: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    for line, row in tqdm(rows, desc=path.name, unit=" rows", delay=3):
        user, item = row[user_column].strip(), row[item_column].strip()
        if not user or not item:
            dropped[f"interactions without {'a user' if not user else 'an item'}"] += 1
            continue
        for token in (user, item):
            if token not in tokens:
                check_token(token, f"{path}, line {line}")
                tokens[token] = token
        for name, column, values in columns:
            if name not in readers:  # the first time says how times are written
                readers[name] = _seconds if _is_date(row[column]) else _stamp
            values.append(readers[name](row[column], f"{path}, line {line}, '{name}'"))
        users.append(tokens[user])
        items.append(tokens[item])
    if not users:
        raise SourceDataError(f"{path} holds no interactions with a user and an item.")
    table = pd.DataFrame({"user_id": users, "item_id": items}).assign(**numbers).dropna(axis="columns", how="all")
    # In the order of time, so that who reads the file elsewhere is not left to the order of the source.
    others = [name or "without a name" for name in header if name not in ("user_id", "item_id", *numbers)]
    return table.sort_values("timestamp", kind="stable"), dict(dropped), dict.fromkeys(others, len(users))


def _read_items(path: Path) -> tuple[pd.DataFrame, int]:
    rows = _rows(path, required=("item_id",))
    _, header = next(rows)
    item_column = header.index("item_id")
    fields = [name for name in header if name != "item_id"]
    if "" in fields:
        raise SourceDataError(
            f"{path}, line 1: column {header.index('') + 1} has no name, as pandas writes row numbers. Write the table "
            "with to_csv(..., index=False), or name the column."
        )
    for name in fields:
        if set(name) & set(":{}\t\n\r"):
            raise SourceDataError(
                f"{path}, line 1: the column name {name!r} can't be a field of an atomic file. "
                f"Use a name without ':', braces, tabs and line ends."
            )
    table: dict[str, list[str]] = {}
    duplicates = 0
    for line, row in tqdm(rows, desc=path.name, unit=" rows", delay=3):
        item = row.pop(item_column).strip()
        check_token(item, f"{path}, line {line}")
        if item in table:
            duplicates += 1
        else:
            table[item] = row
    if not table:
        raise SourceDataError(f"{path} has a header but no items.")
    index = pd.Index(list(table), name="item_id", dtype=object)
    return pd.DataFrame(list(table.values()), index=index, columns=fields, dtype=object), duplicates


def _rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Number of the (last) line and fields of every row, the header first; blank lines are skipped."""
    csv.field_size_limit(_LONGEST_FIELD)
    with open_text(path, instead=f"rename the file that holds its columns to {path.name}") as file:
        # Strict, because a lenient reader turns an unbalanced quote into silently missing rows.
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader)]
            missing = [name for name in required if name not in header]
            if missing:
                raise SourceDataError(
                    f"{path}, line 1: no column {' and no column '.join(missing)} among {', '.join(header)}. "
                    f"The first line must name the columns, separated by commas."
                )
            if len(set(header)) != len(header):
                raise SourceDataError(f"{path}, line 1: a column name is there twice. Rename or drop one.")
            yield 1, header
            for row in reader:
                if len(row) == len(header):
                    yield reader.line_num, row
                elif row:
                    raise SourceDataError(
                        f"{path}, line {reader.line_num}: {len(row)} fields, but the header names "
                        f"{len(header)} ({', '.join(header)}). "
                        f"Put a field that holds a comma into double quotes."
                    )
        except StopIteration:
            raise SourceDataError(f"{path} is empty. Its first line must name the columns.") from None
        except csv.Error as error:
            raise SourceDataError(
                f"{path}, line {reader.line_num}: {error}. Put a field that holds a double quote into "
                f"double quotes, and double the quote inside it."
            ) from None


def _rating(text: str, where: str) -> float:
    """NaN where it is missing."""
    if not text.strip():
        return math.nan
    return _number(text, where, "Leave it empty where there is none.")


def _stamp(text: str, where: str) -> float:
    way_out = "A timestamp is in seconds, as in 881250949, or a date, as in 1997-12-04, the same in every row."
    return _number(text, where, way_out)


def _number(text: str, where: str, way_out: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SourceDataError(f"{where}: {text!r} isn't a number. {way_out}")
    return number


def _is_date(text: str) -> bool:
    return "-" in text[1:] and _as_date(text) is not None


def _seconds(text: str, where: str) -> float:
    """Seconds since 1970 of a date."""
    date = _as_date(text)
    if date is None:
        raise SourceDataError(f"{where}: {text!r} isn't a date, as in 1997-12-04 or 1997-12-04T15:55:49Z.")
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _as_date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
