"""Results by how popular the test item was in training: head, middle, tail, and not seen at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_ext.data.fingerprints import popularity_fingerprint
from recbole_ext.errors import ConfigurationError
from recbole_ext.report.cells import Cell, Column, Row, Sheet, metric_title, plain_sheet, runs_of, text_cell
from recbole_ext.report.leaderboard import headline_metrics, places
from recbole_ext.report.ranks import metric_of_ranks
from recbole_ext.report.records import GROUP_KEYS, Group, Record, grouped
from recbole_ext.report.sections import Section
from recbole_ext.report.significance import load_ranks

GROUPS = ("head", "middle", "tail", "unseen")

_TEXT = (
    "Test users by the popularity of their test item: an item is in the head if the items more popular than it hold "
    "less than a third of the training interactions, in the middle if less than two thirds, else in the tail; unseen "
    "items have no training interaction. Means over users and seeds, in brackets over none."
)


@dataclass(frozen=True)
class Popularity:
    """A dataset's items and test users by popularity, group numbers of ``GROUPS``.

    ``items`` and ``interactions``: how many of each group there are in training. ``of_user`` ``[users]``: the group of
    each user's test item.
    """

    items: list[int]
    interactions: list[int]
    of_user: NDArray[np.int8]

    @classmethod
    def of(cls, item_interactions: NDArray[np.integer], test_interactions: NDArray[np.integer]) -> Popularity:
        """Group by training interactions per item ``[items]`` and of each user's test item ``[users]``.

        Items with equally many interactions are in the same group.
        """
        group = _groups(item_interactions, item_interactions)
        return cls(
            items=[int((group == number).sum()) for number in range(len(GROUPS))],
            interactions=[int(item_interactions[group == number].sum()) for number in range(len(GROUPS))],
            of_user=_groups(item_interactions, test_interactions),
        )


class Interactions(NamedTuple):
    """Training interactions of each item ``[items]`` and of each user's test item ``[users]``."""

    item_interactions: NDArray[np.int32]
    test_interactions: NDArray[np.int32]


def load_interactions(folder: Path, record: Record) -> Interactions | None:
    """The training interactions that a record names; ``None`` where it names none.

    Raises:
        ConfigurationError: the file can't be read or is not the one that the record was made with.
    """
    named = record.get("popularity")
    if not named:
        return None
    path = folder / named["file"]
    try:
        with np.load(path, allow_pickle=False) as file:
            interactions = Interactions(*(file[name] for name in Interactions._fields))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ConfigurationError(f"{named['file']} can't be read ({error}).") from error
    if popularity_fingerprint(*interactions) != named["sha256"]:
        raise ConfigurationError(f"{named['file']} is not the file that {record['run']} was made with.")
    return interactions


def load_popularity(folder: Path, record: Record) -> Popularity | None:
    """The popularity that a record names; see :func:`load_interactions`."""
    interactions = load_interactions(folder, record)
    return None if interactions is None else Popularity.of(*interactions)


def means_of_groups(
    ranks: NDArray[np.integer], of_user: NDArray[np.integer], n_groups: int, metrics: Sequence[str]
) -> dict[str, list[float]]:
    """Per metric the mean over each group's users, NaN for a group without any.

    ``ranks`` ``[users]`` are 1-based, 0 = beyond the largest K; ``of_user`` ``[users]``: group numbers.

    Raises:
        ConfigurationError: they are not of the same users, or a rank does not decide a metric.
    """
    if len(ranks) != len(of_user):
        raise ConfigurationError(f"{len(ranks)} ranks, but {len(of_user)} test users in the popularity.")
    values = {metric: metric_of_ranks(metric, ranks) for metric in metrics}
    groups = [of_user == number for number in range(n_groups)]
    return {
        metric: [float(of_all[group].mean()) if group.any() else math.nan for group in groups]
        for metric, of_all in values.items()
    }


def add_popularity(
    table: pd.DataFrame, records: Sequence[Record], folder: Path
) -> tuple[pd.DataFrame, Section | None, list[str]]:
    """The leaderboard with columns ``METRIC_GROUP`` behind its own, the documents' section, and notes.

    The metrics are the two headline ones, from the ranks kept per user, averaged over the users of a group and then
    over seeds; NaN where a row has no such user, no ranks or no popularity. Without any, the table is as it was.
    """
    metrics = headline_metrics(table)[:2]
    rows: dict[Group, dict[str, float]] = {}
    datasets: dict[str, Popularity] = {}
    notes: list[str] = []
    for group, members in grouped(records).items():
        by_seed = []
        for record in members:
            try:
                popularity = load_popularity(folder, record)
                if popularity is None:
                    continue
                by_seed.append(_means(load_ranks(folder, record), popularity, metrics))
            except ConfigurationError as error:
                notes.append(f"{error} Left out of the results by popularity.")
                continue
            datasets.setdefault(group[0], popularity)
        if by_seed:
            means = pd.DataFrame(by_seed).mean(skipna=False)
            rows[group] = {str(column): float(value) for column, value in means.items()}
    if not rows:
        return table, None, notes
    columns = [f"{metric}_{group}" for metric in metrics for group in GROUPS]
    groups = table[list(GROUP_KEYS)].itertuples(index=False, name=None)
    added = pd.DataFrame([rows.get(group, {}) for group in groups], index=table.index)
    table = pd.concat([table, added.reindex(columns=columns).astype(float)], axis=1)
    section = Section(
        "popularity",
        "By popularity of the test item",
        _TEXT,
        {
            "Test metrics by popularity of the test item.": _results(table, columns, grouped(records)),
            "What the groups hold.": _contents(datasets),
        },
    )
    return table, section, notes


def _groups(item_interactions: NDArray[np.integer], interactions: NDArray[np.integer]) -> NDArray[np.int8]:
    """The group of items with so many ``interactions``, among all items' ``item_interactions``."""
    distinct, items = np.unique(item_interactions[item_interactions > 0], return_counts=True)
    held = distinct.astype(np.int64) * items
    share_of_more_popular = (held.sum() - np.cumsum(held)) / max(int(held.sum()), 1)
    group = np.full(len(interactions), GROUPS.index("unseen"), dtype=np.int8)
    seen = interactions > 0
    # Of 3 groups, so that rounding can't move an item that sits on the boundary.
    group[seen] = np.floor(3 * share_of_more_popular + 1e-12)[np.searchsorted(distinct, interactions[seen])]
    return group


def _means(ranks: NDArray[np.integer], popularity: Popularity, metrics: Sequence[str]) -> dict[str, float]:
    means = means_of_groups(ranks, popularity.of_user, len(GROUPS), metrics)
    return {
        f"{metric}_{group}": mean
        for metric, of_groups in means.items()
        for group, mean in zip(GROUPS, of_groups, strict=True)
    }


def _results(table: pd.DataFrame, columns: Sequence[str], runs: Mapping[Group, list[Record]]) -> Sheet:
    place = {column: places(table, column) for column in columns}
    none = {(row["dataset"], row["model"], row["protocol"]): row for row in _rows(table) if row["init"] == "none"}
    rows = []
    for position, row in enumerate(_rows(table)):
        base = none.get((row["dataset"], row["model"], row["protocol"])) if row["init"] != "none" else None
        cells = [text_cell(row[key]) for key in GROUP_KEYS]
        cells += [_cell(row[c], base[c] if base else math.nan, place[c][position]) for c in columns]
        rows.append(Row(cells, runs_of(row, runs)))
    titles = [Column(key, key.capitalize(), numeric=False) for key in GROUP_KEYS]
    titles += [Column(column, _title(column), spread=True) for column in columns]
    return Sheet(titles, rows)


def _title(column: str) -> str:
    metric, _, group = column.rpartition("_")
    return f"{metric_title(metric)} {group}"


def _cell(value: float, base: float, place: int) -> Cell:
    if math.isnan(value):
        return Cell("–")
    gain = f"({100 * (value / base - 1):+.1f} %)".replace("-", "−") if base and not math.isnan(base) else ""
    return Cell(f"{value:.4f}", value, gain, place)


def _contents(datasets: Mapping[str, Popularity]) -> Sheet:
    titles = {"dataset": False, "items": False, "number of items": True, "training interactions": True}
    rows = [
        (dataset, group, p.items[number], p.interactions[number], int((p.of_user == number).sum()))
        for dataset, p in sorted(datasets.items())
        for number, group in enumerate(GROUPS)
    ]
    return plain_sheet(titles | {"test users": True}, rows)


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
