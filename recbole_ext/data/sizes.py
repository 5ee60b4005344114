"""How large a dataset is: counted in its files, or by RecBole under its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.data.files import history_column
from recbole_ext.data.stock import stock_dataset
from recbole_ext.data.tables import Table


@dataclass(frozen=True)
class Size:
    """Users, items and interactions."""

    users: int
    items: int
    interactions: int


def counted(paths: Sequence[Path], settings: Mapping[str, Any]) -> Size:
    """Distinct users and items, and the rows, of files of interactions, before any filter; see :func:`ids_in`.

    Raises:
        SourceDataError: a header can't be read, or lacks the user or the item.
    """
    users, items, rows = ids_in(paths, settings)
    return Size(len(users), len(items), rows)


def ids_in(paths: Sequence[Path], settings: Mapping[str, Any]) -> tuple[set[str], set[str], int]:
    """The users and the items of files of interactions, and how many rows they have, before any filter.

    Items of histories, which files that are split already may hold, count as well.

    Raises:
        SourceDataError: a header can't be read, or lacks the user or the item.
    """
    user, item = settings["USER_ID_FIELD"], settings["ITEM_ID_FIELD"]
    ids: dict[str, set[str]] = {user: set(), item: set()}
    rows = 0
    for path in paths:
        table = Table.of(path, settings)
        for name in ids:
            table.require(name, "which holds ids", way_out="Set USER_ID_FIELD and ITEM_ID_FIELD to the columns.")
        histories = history_column(settings) or ""
        values = table.read([*ids, histories])
        rows += len(values)
        if histories in values:
            for history in values[histories].cat.categories:
                ids[item].update(filter(None, history.split(settings["seq_separator"])))
        for name, found in ids.items():
            found.update(values[name].cat.categories)
    return ids[user], ids[item], rows


def counted_by_recbole(name: str, folder: Path, settings: Mapping[str, Any]) -> Size:
    """Users, items and interactions that RecBole's filters leave; items and users that only ``.item`` or ``.user``
    name count, as they do in its models.

    Raises:
        ConfigurationError: RecBole refuses the keys, or they leave nothing.
    """
    dataset = stock_dataset(name, folder, settings)
    return Size(dataset.user_num - 1, dataset.item_num - 1, len(dataset.inter_feat))
