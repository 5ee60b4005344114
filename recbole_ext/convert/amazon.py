"""What the three releases of the Amazon reviews have in common: a file of reviews and one of metadata.

Both are read as streams. Of a review only references to its user and item, its time and its rating stay
in memory (32 bytes), of the metadata the cleaned text of the items that somebody reviewed.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_ext.convert.record_lines import parsed_lines
from recbole_ext.convert.source import FIELDS, SourceData, check_folder, check_token
from recbole_ext.errors import SourceDataError
from recbole_ext.text import clean

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Release:
    """How a release names its files and fields.

    ``reviews`` and ``metadata`` are regular expressions for whole file names, ``files`` says in words what a
    folder holds. ``parse`` turns a line into a record. ``user``, ``item`` and ``time`` are keys of a review,
    ``item`` also of the metadata; ``ticks_per_second`` is the unit of ``time``. ``rating`` is the key of the
    stars. ``text`` gives the parts of title, brand, categories and description, any of which may be
    ``None``, a string or lists of strings.
    """

    files: str
    reviews: str
    metadata: str
    parse: Callable[[str], Record]
    user: str
    item: str
    time: str
    rating: str
    text: Callable[[Record], tuple[Any, Any, Any, Any]]
    ticks_per_second: int = 1


def read_release(source: Path, release: Release) -> SourceData:
    """Read the file of reviews in folder ``source`` and, if there is one, the file of metadata.

    Every user's reviews come in the order of time, in seconds; those at the same time (the older releases
    have days only) stay in the order of the file. Malformed lines, exact duplicates (same user, item and
    time; the first is kept) and descriptions of items that nobody reviewed are dropped and counted.

    Raises:
        SourceDataError: there is not exactly one file of reviews or more than one of metadata, too many lines
            are malformed (see ``parsed_lines``), or nothing usable is left.
    """
    check_folder(source, release.files)
    reviews = _find(source, release.reviews, "file of reviews", release)
    metadata = _find(source, release.metadata, "file of metadata", release)
    if reviews is None:
        raise SourceDataError(f"{source} holds no file of reviews. SOURCE is the folder that holds {release.files}.")
    dropped: Counter[str] = Counter()
    interactions = _read_reviews(reviews, release, dropped)
    reviewed = interactions["item_id"].cat.categories
    items, duplicates, cleaned = _read_metadata(metadata, release, reviewed, dropped)
    return SourceData(interactions, items, duplicates, cleaned=cleaned, dropped=dropped)


def _find(source: Path, pattern: str, what: str, release: Release) -> Path | None:
    found = sorted(path for path in source.iterdir() if path.is_file() and re.fullmatch(pattern, path.name))
    if len(found) > 1:
        raise SourceDataError(
            f"{source} holds more than one {what} ({', '.join(path.name for path in found)}). "
            f"SOURCE is the folder that holds {release.files}: move the others elsewhere."
        )
    return found[0] if found else None


def _read_reviews(path: Path, release: Release, dropped: Counter[str]) -> pd.DataFrame:
    users: list[str] = []
    items: list[str] = []
    times, ratings = array("d"), array("d")
    tokens: dict[str, str] = {}  # so that one user is one object, however many reviews there are

    def parse(line: str) -> tuple[str, str, float, float]:
        review = release.parse(line)
        user, item = _token(review, release.user), _token(review, release.item)
        time, rating = _number(review, release.time), _number(review, release.rating)
        if math.isnan(time):
            raise ValueError(f"no '{release.time}'")
        for key, token in ((release.user, user), (release.item, item)):
            if token not in tokens:
                _check_token(token, key)
        return tokens.setdefault(user, user), tokens.setdefault(item, item), time, rating

    for user_token, item_token, seen_at, stars in parsed_lines(path, parse, dropped):
        users.append(user_token)
        items.append(item_token)
        times.append(seen_at)
        ratings.append(stars)
    if not times:
        raise SourceDataError(f"{path} holds no reviews with a user, an item and a time. Get the file again.")
    tokens.clear()
    user, user_tokens = _numbered(users)
    item, item_tokens = _numbered(items)
    time, rating = np.frombuffer(times), np.frombuffer(ratings)
    order = _order(user, item, time)
    if len(order) < len(time):
        dropped["repeated reviews (same user, item and time)"] = len(time) - len(order)
    table = {
        "user_id": pd.Categorical.from_codes(user[order], user_tokens),
        "item_id": pd.Categorical.from_codes(item[order], item_tokens),
        "timestamp": time[order] / release.ticks_per_second,
    }
    if not np.isnan(rating).all():
        table["rating"] = rating[order]
    return pd.DataFrame(table, copy=False)


def _numbered(tokens: list[str]) -> tuple[np.ndarray, pd.Index]:
    """The tokens as numbers, and what the numbers stand for; the list is emptied to make room."""
    values = np.array(tokens, dtype=object)
    tokens.clear()
    numbers, distinct = pd.factorize(values)
    return numbers.astype(np.int32), pd.Index(distinct, dtype=object)


def _order(user: np.ndarray, item: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Row numbers in the order of time, then of the file, without the second and later of equal rows."""
    together = np.lexsort((time, item, user))
    is_first = np.zeros(len(together), dtype=bool)
    is_first[0] = True
    for column in (user, item, time):
        values = column[together]
        is_first[1:] |= values[1:] != values[:-1]
    kept = np.sort(together[is_first])
    return kept[np.argsort(time[kept], kind="stable")]


def _read_metadata(
    path: Path | None, release: Release, reviewed: pd.Index, dropped: Counter[str]
) -> tuple[pd.DataFrame, int, Counter[str]]:
    """The items, how many descriptions were left out, and how many texts of each field were changed by cleaning."""
    rows: dict[str, list[str]] = {}
    duplicates = 0
    # Brands and categories repeat: each is kept once.
    shared: dict[str, str] = {}

    changed: Counter[str] = Counter()

    def cleaned(field: str, text: str) -> str:
        changed[field] += (result := clean(text)) != text
        return result

    def parse(line: str) -> tuple[str, list[str] | None]:
        record = release.parse(line)
        item = _token(record, release.item)
        if item not in reviewed or item in rows:
            return item, None
        title, brand, categories, description = release.text(record)
        return item, [
            cleaned("title", " ".join(_parts(title))),
            _once(cleaned("brand", " ".join(_parts(brand))), shared),
            # A product may be in several branches of the tree, and every branch begins at the same root.
            _once(cleaned("categories", ", ".join(dict.fromkeys(_parts(categories)))), shared),
            cleaned("description", " ".join(_parts(description))),
        ]

    for item, row in parsed_lines(path, parse, dropped) if path else ():
        if row:
            rows[item] = row
        elif item in rows:
            duplicates += 1
        else:
            dropped["descriptions of items without a review"] += 1
    if path and not rows:
        raise SourceDataError(
            f"{path} describes none of the items that were reviewed. Put the metadata of the same category "
            f"there, or take the file away to do without item text."
        )
    index = pd.Index(list(rows), name="item_id", dtype=object)
    return pd.DataFrame(list(rows.values()), index=index, columns=list(FIELDS), dtype=object), duplicates, changed


def _once(text: str, shared: dict[str, str]) -> str:
    return shared.setdefault(text, text)


def _parts(value: Any) -> Iterator[str]:
    """The texts in a field: itself, or those in its lists, whatever their depth; null is no text."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _parts(entry)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)
    elif value is not None:
        raise ValueError(f"text expected instead of {str(value)[:40]}")


def _token(record: Record, key: str) -> str:
    token = record.get(key)
    if not token or not isinstance(token, str):
        raise ValueError(f"no '{key}'")
    return token


def _check_token(token: str, key: str) -> None:
    try:
        check_token(token, f"'{key}'")
    except SourceDataError as error:
        raise ValueError(str(error)) from None


def _number(record: Record, key: str) -> float:
    """The number under ``key``, also one in a string; not a number (NaN) if there is none."""
    value = record.get(key)
    if value is None or value == "":
        return math.nan
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"'{key}': {str(value)[:40]!r} isn't a number")
    return number
