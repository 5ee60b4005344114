"""Accuracy by how many training interactions a user's test item has, from run records and what was kept beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.popularity import load_interactions, means_of_groups
from recbole_ext.report.ranks import metric_of_ranks
from recbole_ext.report.records import GROUP_KEYS, Record
from recbole_ext.report.significance import load_ranks
from recbole_ext.study.records import finished_records

_KEYS = ["results", *GROUP_KEYS, "split"]
_FROM_TEXT_ALONE = ("NearestNeighbour", "RECFORMER", "UniSRec", "WhitenRec", "ZESRec")
_FROM_VECTORS_ALONE = ("frozen", "adapter", "bounded", "dual")
"""Modes that leave the vector of an item that training never sees as it is, or map it as they map all."""


def by_interactions(
    results: Sequence[Path], metrics: Sequence[str], edges: Sequence[int]
) -> tuple[pd.DataFrame, list[str]]:
    """One row per run group and bin, and notes on what is left out.

    Columns: ``results`` (the benchmark's name), the group's five, ``split`` (of the popularity file), ``bin``,
    ``n_users``, ``n_seeds``, ``from_store`` (an unseen item is scored from its store vector or text alone), per metric
    its mean over seeds, ``METRIC_std``, ``METRIC_change_%`` over ``none`` and ``METRIC_random``, what a random order of
    all items gives; NaN where there are no such users, no ``none``, or the ranking is a sample.

    Raises:
        ConfigurationError: nothing is left.
    """
    runs: list[dict[str, Any]] = []
    notes: list[str] = []
    for folder in results:
        try:
            records = finished_records(folder)
        except ConfigurationError as error:
            notes.append(str(error))
            continue
        without = []
        for record in records:
            try:
                found = _bins_of(folder, record, metrics, edges)
            except ConfigurationError as error:
                notes.append(f"{folder}: {error} Left out.")
                continue
            runs += found
            without += [] if found else [record]
        if without:
            notes.append(_lacks_popularity(folder, without))
    if not runs:
        raise ConfigurationError(" ".join(notes))
    rows = pd.DataFrame(runs).groupby([*_KEYS, "bin"], sort=False)
    table = rows[["n_users", "from_store"]].first().assign(n_seeds=rows.size())
    for metric in metrics:
        table[metric], table[f"{metric}_std"] = rows[metric].mean(), rows[metric].std()
        table[f"{metric}_random"] = rows[f"{metric}_random"].first()
    table = table.reset_index()
    for metric in metrics:
        table[f"{metric}_change_%"] = 100 * (table[metric] / _of_none(table, metric) - 1)
    return table, notes


def _bins_of(folder: Path, record: Record, metrics: Sequence[str], edges: Sequence[int]) -> list[dict[str, Any]]:
    """A run's numbers in each bin; [] where it kept no popularity."""
    interactions = load_interactions(folder, record)
    if interactions is None:
        return []
    bins = bin_names(edges)
    of_user = bin_of(interactions.test_interactions, edges)
    means = means_of_groups(load_ranks(folder, record), of_user, len(bins), metrics)
    run = {"results": folder.name, **{key: record[key] for key in GROUP_KEYS}, "split": record["popularity"]["sha256"]}
    run["from_store"] = record["mode"] in _FROM_VECTORS_ALONE or record["model"] in _FROM_TEXT_ALONE
    full = "full" in str((record["config"].get("eval_args") or {}).get("mode"))
    every_rank = np.arange(1, len(interactions.item_interactions) + 1)
    for metric in metrics:
        run[f"{metric}_random"] = float(metric_of_ranks(metric, every_rank).mean()) if full else math.nan
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


def _lacks_popularity(folder: Path, records: Sequence[Record]) -> str:
    if all("popularity" in record for record in records):
        return (
            f"{folder}: {len(records)} runs have several test items per user, so no item to sort a user by. Left out."
        )
    commands = ", ".join(f"`{command}`" for command in dict.fromkeys(str(record.get("command")) for record in records))
    return (
        f"{folder}: {len(records)} runs, such as {records[0]['run']}, did not keep how popular their test items are. "
        f"Runs do by now, but a finished one is not run again: delete those in {folder / 'runs'} and call {commands}."
    )


def _of_none(table: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """Each row's ``none``: its own benchmark's, else that of the first benchmark that has one; NaN for its own rows."""
    keys = ["dataset", "model", "protocol", "split", "bin"]
    own: dict[tuple[Any, ...], float] = {}
    first: dict[tuple[Any, ...], float] = {}
    for row in table[table["init"] == "none"].to_dict("records"):
        value = row[metric] or math.nan  # there is no change over nothing
        own[tuple(row[name] for name in ["results", *keys])] = value
        first.setdefault(tuple(row[name] for name in keys), value)
    found = []
    for row in table.to_dict("records"):
        lent = first.get(tuple(row[name] for name in keys), math.nan)
        base = own.get(tuple(row[name] for name in ["results", *keys]), lent)
        found.append(math.nan if row["init"] == "none" else base)
    return np.array(found)
