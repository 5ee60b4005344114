"""Results by how popular the test item was in training: head, middle, tail, and not seen at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RowKey
from recbole_ext.records.popularity import read_interactions
from recbole_ext.report.cells import NOTHING, Cell, Column, Row, Sheet, key_columns, plain_sheet, signed, text_cell
from recbole_ext.report.leaderboard import KEYS, Leaderboard, key_of, lines_of, places
from recbole_ext.report.metrics import metric_title, sign
from recbole_ext.report.ranks import decided_by_ranks, load_ranks, metric_of_ranks
from recbole_ext.report.results import Result
from recbole_ext.report.sections import Section

GROUPS = ("head", "middle", "tail", "unseen")

_TEXT = (
    "Test users by the popularity of their test item: an item is in the head if the items more popular than it hold "
    "less than a third of the training interactions, in the middle if less than two thirds, else in the tail; unseen "
    "items have no training interaction. Means over users and seeds, in brackets over the row's baseline."
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


@dataclass(frozen=True)
class ByPopularity:
    """Means of each row by the test item's popularity.

    Attributes:
        columns: ``METRIC_GROUP`` of the table, one for each metric and group.
        rows: per row its means by column, over the users of a group and then over seeds; NaN for no such user.
        splits: what the groups hold, by dataset and what tells its split apart.
    """

    columns: list[str]
    rows: dict[RowKey, dict[str, float]]
    splits: dict[tuple[str, str], Popularity]
    notes: list[str]


def by_popularity(results: Sequence[Result], metrics: Sequence[str], folder: Path) -> ByPopularity:
    """The means of all rows whose runs kept ranks and popularity; notes on files that are of no use."""
    found = ByPopularity([f"{metric}_{group}" for metric in metrics for group in GROUPS], {}, {}, [])
    for result in results:
        by_seed = []
        for record in result.runs:
            try:
                interactions = read_interactions(folder, record)
                ranks = load_ranks(folder, record)
                if interactions is None or ranks is None:
                    continue
                split = interactions.sha256()
                if (result.key.dataset, split) not in found.splits:
                    found.splits[result.key.dataset, split] = Popularity.of(*interactions)
                popularity = found.splits[result.key.dataset, split]
                decided = [metric for metric in metrics if decided_by_ranks(metric, record)]
                means = means_of_groups(ranks, popularity.of_user, len(GROUPS), decided)
            except ConfigurationError as error:
                found.notes.append(f"{error} Left out of the results by popularity.")
                continue
            by_seed.append({f"{m}_{g}": mean for m in decided for g, mean in zip(GROUPS, means[m], strict=True)})
        # A mean over some of the seeds would not be the leaderboard's.
        if by_seed and len(by_seed) == len(result.runs):
            over_seeds = pd.DataFrame(by_seed).mean(skipna=False)
            found.rows[result.key] = {str(column): float(value) for column, value in over_seeds.items()}
    return found


def with_popularity(table: pd.DataFrame, found: ByPopularity) -> pd.DataFrame:
    """The leaderboard's table with the means behind its own columns; as it was where no row has any."""
    if not found.rows:
        return table
    lines = [{} if line["source"] else found.rows.get(key_of(line), {}) for line in lines_of(table)]
    added = pd.DataFrame(lines, index=table.index).reindex(columns=found.columns).astype(float)
    return pd.concat([table, added], axis=1)


def popularity_section(board: Leaderboard, found: ByPopularity) -> Section | None:
    """The documents' section, from a table :func:`with_popularity`; ``None`` where no row has any."""
    if not found.rows:
        return None
    sheets = {
        "Test metrics by popularity of the test item.": _results(board, found.columns),
        "What the groups hold.": _contents(found.splits),
    }
    return Section("popularity", "By popularity of the test item", _TEXT, sheets)


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


def _results(board: Leaderboard, columns: Sequence[str]) -> Sheet:
    directions = {column: sign(column.rpartition("_")[0]) for column in columns}
    place = {column: places(board.table, column, directions[column]) for column in columns}
    lines = lines_of(board.table)
    ours = {key_of(line): line for line in lines if not line["source"]}
    baselines = board.baselines
    rows = []
    for position, line in enumerate(lines):
        key = key_of(line)
        if line["source"] or not board.results[key].runs:
            continue
        base = ours[baselines[key].key] if key in baselines else {}
        cells = [text_cell(line[name]) for name in KEYS]
        cells += [_cell(line[c], base.get(c, math.nan), place[c][position]) for c in columns]
        rows.append(Row(cells, board.results[key].runs))
    return Sheet([*key_columns(), *(Column(column, _title(column), spread=True) for column in columns)], rows)


def _title(column: str) -> str:
    metric, _, group = column.rpartition("_")
    return f"{metric_title(metric)} {group}"


def _cell(value: float, base: float, place: int) -> Cell:
    if math.isnan(value):
        return Cell(NOTHING)
    gain = f"({signed(100 * (value / base - 1), 1)} %)" if base and not math.isnan(base) else ""
    return Cell(f"{value:.4f}", value, gain, place)


def _contents(splits: Mapping[tuple[str, str], Popularity]) -> Sheet:
    several = len({dataset for dataset, _ in splits}) < len(splits)
    rows: list[tuple[Any, ...]] = [
        (
            f"{dataset}, split {split[:8]}" if several else dataset,
            group,
            popularity.items[number],
            popularity.interactions[number],
            int((popularity.of_user == number).sum()),
        )
        for (dataset, split), popularity in sorted(splits.items(), key=lambda split: split[0])
        for number, group in enumerate(GROUPS)
    ]
    titles = {"dataset": False, "items": False, "number of items": True, "training interactions": True}
    return plain_sheet(titles | {"test users": True}, rows)
