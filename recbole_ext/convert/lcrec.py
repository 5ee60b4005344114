"""Format ``lcrec``: the pair ``*.inter.json`` and ``*.item.json`` that LC-Rec and its successors pass around.

``*.inter.json`` is ``{user: [item, item, ...]}``, each list in the order of time, but without times: the
timestamp written is the position in the list. ``*.item.json`` is ``{item: {"title": ..., "brand": ...,
"categories": ..., "description": ...}}``; ``store`` and ``category``, as Amazon called them later, are read as brand
and categories where no item has those.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_ext.convert.source import FIELDS, SourceData, check_folder, check_token
from recbole_ext.errors import SourceDataError
from recbole_ext.text import open_text

_ALSO_CALLED = {"brand": "store", "categories": "category"}


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs: a ``dict`` would hide that a key is there twice."""


def read(source: Path, name: str) -> SourceData:
    """Read the pair in folder ``source``: the one that begins with ``name``, else the only one there is.

    Raises:
        SourceDataError: no pair or no telling which; a file is missing, empty, not JSON or not of this shape.
    """
    prefix = _find_pair(source, name)
    interactions, dropped = _read_interactions(source / f"{prefix}.inter.json")
    items = _read_items(source / f"{prefix}.item.json")
    return SourceData(interactions, items.pop("table"), dropped=dropped, **items)


def _find_pair(source: Path, name: str) -> str:
    check_folder(source, "NAME.inter.json and NAME.item.json")
    found = {
        ending: {path.name.removesuffix(ending) for path in source.glob(f"*{ending}")}
        for ending in (".inter.json", ".item.json")
    }
    prefixes = sorted(found[".inter.json"] | found[".item.json"])
    if not prefixes:
        raise SourceDataError(f"{source} holds no *.inter.json and no *.item.json. Give the folder with the pair.")
    if name in prefixes:
        prefix = name
    elif len(prefixes) == 1:
        prefix = prefixes[0]
    else:
        raise SourceDataError(
            f"{source} holds files of several datasets ({', '.join(prefixes)}) and none is called '{name}'. "
            f"Set --name to one of them."
        )
    for ending, there in found.items():
        if prefix not in there:
            raise SourceDataError(f"{source / (prefix + ending)} doesn't exist. Put it beside the other file.")
    return prefix


def _read_interactions(path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    users: list[str] = []
    items: list[str] = []
    positions: list[int] = []
    tokens: dict[str | int, str] = {}
    seen: set[str] = set()
    for user, history in _load_object(path, "users to lists of items"):
        where = f"{path}, user '{user}'"
        check_token(user, where)
        if user in seen:
            raise SourceDataError(f"{where}: the user is there twice. Merge the two lists.")
        seen.add(user)
        if not isinstance(history, list) or isinstance(history, _Object):
            raise SourceDataError(f"{where}: {_kind(history)} instead of a list of items.")
        for position, item in enumerate(history):
            if isinstance(item, bool) or not isinstance(item, (str, int)):
                raise SourceDataError(
                    f"{where}: entry {position + 1} is {_kind(item)}. Items are strings or whole numbers."
                )
            if item not in tokens:
                check_token(str(item), where)
                tokens[item] = str(item)
            users.append(user)
            items.append(tokens[item])
            positions.append(position)
    if not users:
        raise SourceDataError(f"{path} holds no interactions. Get the file again.")
    without = len(seen) - len(set(users))
    table = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": positions})
    return table, {"users with an empty list": without} if without else {}


def _read_items(path: Path) -> dict[str, Any]:
    """The table of items, and what else ``SourceData`` says about items."""
    items: dict[str, dict[str, Any]] = {}
    duplicates = 0
    for item, description in _load_object(path, "items to their fields"):
        where = f"{path}, item '{item}'"
        check_token(item, where)
        if not isinstance(description, _Object):
            raise SourceDataError(f"{where}: {_kind(description)} instead of an object with {', '.join(FIELDS)}.")
        if item in items:
            duplicates += 1
        else:
            items[item] = {field: value for field, value in description if value not in (None, "", [])}
    if not items:
        raise SourceDataError(f"{path} holds no items. Get the file again.")
    there = Counter(field for values in items.values() for field in values)
    read_as = {other: field for field, other in _ALSO_CALLED.items() if other in there and field not in there}
    called = {field: field for field in FIELDS} | {field: other for other, field in read_as.items()}
    columns = {
        field: [_text(values.get(name), f"{path}, item '{item}', '{name}'") for item, values in items.items()]
        for field, name in called.items()
    }
    index = pd.Index(list(items), name="item_id", dtype=object)
    return {
        "table": pd.DataFrame(columns, index=index, dtype=object),
        "duplicate_items": duplicates,
        "read_as": read_as,
        "not_read": {field: count for field, count in there.items() if field not in called.values()},
    }


def _text(value: Any, where: str) -> str:
    """Text of a field; lists, as other dumps of the same shops have them, are joined by commas."""
    if value is None:
        return ""
    if isinstance(value, list) and not isinstance(value, _Object):
        return ", ".join(text for entry in value if (text := _text(entry, where)))
    if isinstance(value, _Object):
        raise SourceDataError(f"{where}: an object instead of text.")
    return str(value)


def _load_object(path: Path, what: str) -> _Object:
    with open_text(path) as file:
        try:
            # Python writes a missing value of a table as NaN, which is not JSON, and no text.
            content = json.load(file, object_pairs_hook=_Object, parse_constant=lambda _: None)
        except json.JSONDecodeError as error:
            raise SourceDataError(
                f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}). Get the file again."
            ) from None
        except RecursionError:
            raise SourceDataError(f"{path}: nested too deeply to be an object of {what}.") from None
    if not isinstance(content, _Object):
        raise SourceDataError(f"{path}: {_kind(content)} at the top, where an object of {what} is expected.")
    return content


def _kind(value: Any) -> str:
    if isinstance(value, _Object):
        return "an object"
    return "a list" if isinstance(value, list) else f"the value {json.dumps(value)[:40]}"
