"""Accuracy by how many training interactions a user's test item has, from run records and what was kept beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RowKey, RunRecord
from recbole_ext.records.popularity import read_interactions
from recbole_ext.records.ranks import alone
from recbole_ext.report.popularity import means_of_groups
from recbole_ext.report.ranks import decided_by_ranks, load_ranks, metric_of_ranks
from recbole_ext.report.results import Result, finished_results

_KEYS = ["results", *RowKey._fields, "baseline", "is_random", "split"]
_FROM_TEXT_ALONE = ("RECFORMER", "UniSRec", "WhitenRec", "ZESRec")
_FROM_VECTORS_ALONE = ("frozen", "adapter", "bounded", "dual")
"""Modes that leave the vector of an item that training never sees as it is, or map it as they map all."""


def by_interactions(
    folders: Sequence[Path], metrics: Sequence[str], edges: Sequence[int]
) -> tuple[pd.DataFrame, list[str]]:
    """One row per row of the benchmarks in ``folders`` and bin, and notes on what is left out.

    Columns: ``results`` (the benchmark's name; its folder where another one has the same), the row's four, its
    ``baseline``, ``is_random`` (it trains the model's own random vectors), ``split`` (of the popularity file), ``bin``,
    ``n_users``, ``n_seeds``, ``from_store`` (an unseen item is scored from its store vector or text alone), ``learns``
    (anything is trained), per metric its mean over seeds, ``METRIC_std``, ``METRIC_change_%`` over the row's baseline
    and ``METRIC_random``, what a random order of all items gives; NaN where there are no such users, no baseline, or
    the ranking is a sample or leaves out what a user has had.

    Raises:
        ConfigurationError: nothing is left, or the ranks that a run kept do not decide a metric.
    """
    runs: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, folder, results in _benchmarks(folders, notes):
        without = []
        for result in results:
            learns = any(record.done.learns for record in result.runs)
            row = {"results": name, "baseline": result.row.baseline or "", "learns": learns}
            row["is_random"] = result.row.is_random and learns
            for record in result.runs:
                _refuse_undecided(metrics, record, folder)
                try:
                    bins = _bins_of(folder, record, metrics, edges)
                except ConfigurationError as error:
                    notes.append(f"{folder}: {error} Left out.")
                    continue
                runs += [row | in_bin for in_bin in bins]
                without += [] if bins else [record.run]
        if without:
            notes.append(
                f"{folder}: {len(without)} runs, such as {without[0]}, have several test items per user, so no item to "
                "sort a user by, or kept no ranks. Left out."
            )
    if not runs:
        raise ConfigurationError(" ".join(notes))
    rows = pd.DataFrame(runs).groupby([*_KEYS, "bin"], sort=False)
    table = rows[["n_users", "from_store", "learns"]].first().assign(n_seeds=rows.size())
    for metric in metrics:
        table[metric], table[f"{metric}_std"] = rows[metric].mean(), rows[metric].std()
        table[f"{metric}_random"] = rows[f"{metric}_random"].first()
    table = table.reset_index()
    for metric in metrics:
        table[f"{metric}_change_%"] = 100 * (table[metric] / _of_baseline(table, metric) - 1)
    return table, notes


def _benchmarks(folders: Sequence[Path], notes: list[str]) -> list[tuple[str, Path, list[Result]]]:
    """What to call each benchmark, its folder and its results; a folder that has none gets a note.

    Two of one name are called by their folders, or else the runs of both would pass for seeds of one row.
    """
    found = []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        try:
            grid, results = finished_results(folder)
        except ConfigurationError as error:
            notes.append(str(error))
            continue
        found.append((grid.benchmark, folder, results))
    times = Counter(name for name, _, _ in found)
    return [(name if times[name] == 1 else str(folder), folder, results) for name, folder, results in found]


def _refuse_undecided(metrics: Sequence[str], record: RunRecord, folder: Path) -> None:
    """Ranks beyond the largest K are not known: a metric that needs them would come out too low."""
    undecided = [metric for metric in metrics if not decided_by_ranks(metric, record)]
    if undecided and record.evaluated.popularity:
        raise ConfigurationError(
            f"metrics: {undecided[0]} does not follow from the ranks that {folder / 'runs'} keeps, which end at "
            f"{record.evaluated.largest_k}. Choose recall, hit, precision, ndcg or mrr at that or less, or leave the "
            "folder out of `results`."
        )


def _bins_of(folder: Path, record: RunRecord, metrics: Sequence[str], edges: Sequence[int]) -> list[dict[str, Any]]:
    """A run's numbers in each bin; [] where it kept no popularity or no ranks."""
    interactions, ranks = read_interactions(folder, record), load_ranks(folder, record)
    if interactions is None or ranks is None:
        return []
    bins = bin_names(edges)
    of_user = bin_of(interactions.test_interactions, edges)
    means = means_of_groups(ranks, of_user, len(bins), metrics)
    run: dict[str, Any] = {**record.row._asdict(), "split": interactions.sha256()}
    untouched = record.fingerprints.vectors is not None and not record.done.learns
    run["from_store"] = untouched or record.mode in _FROM_VECTORS_ALONE or record.model in _FROM_TEXT_ALONE
    every_rank = alone(np.arange(1, len(interactions.item_interactions) + 1))
    for metric in metrics:
        random = float(metric_of_ranks(metric, every_rank).mean())
        # Items that a user has had are not ranked for everybody alike, and how many they are is not kept.
        ranks_all = record.evaluated.ranks_all_items and record.evaluated.config.get("rank_seen_items") is not False
        run[f"{metric}_random"] = random if ranks_all else math.nan
    return [
        {**run, "bin": name, "n_users": int((of_user == number).sum())}
        | {metric: of_bins[number] for metric, of_bins in means.items()}
        for number, name in enumerate(bins)
    ]


def bin_names(edges: Sequence[int]) -> list[str]:
    """What to call the bins, for edges 0, 5, 20: ``0``, ``1–5``, ``6–20``, ``more than 20``."""
    lowest = [0, *(edge + 1 for edge in edges)]
    closed = [str(low) if low == high else f"{low}–{high}" for low, high in zip(lowest, edges, strict=False)]
    return [*closed, f"more than {edges[-1]}"]


def bin_of(interactions: NDArray[np.integer], edges: Sequence[int]) -> NDArray[np.integer]:
    """The number of the bin of each of ``interactions``, ``[n]``: bin i ends with ``edges[i]``, the last is open."""
    return np.searchsorted(np.asarray(edges), interactions, side="left")


def _of_baseline(table: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """The value of each row's own baseline in the same benchmark and bin; NaN for rows without one."""
    keys = ["results", "dataset", "model", "variant", "protocol", "split", "bin"]
    # there is no change over nothing
    values = {tuple(row[key] for key in keys): row[metric] or math.nan for row in table.to_dict("records")}
    named = (tuple({**row, "variant": row["baseline"]}[key] for key in keys) for row in table.to_dict("records"))
    return np.array([values.get(baseline, math.nan) for baseline in named])
