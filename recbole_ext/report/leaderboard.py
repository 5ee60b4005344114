"""The two tables of a benchmark: quality (the leaderboard) and costs, one row per group of seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recbole_ext.report.records import GROUP_KEYS, Group, Record, grouped
from recbole_ext.report.significance import Comparison

_IMPROVEMENTS = ("ndcg@5", "ndcg@10", "recall@10")
_FAMILIES = ("recall", "ndcg", "mrr")


def leaderboard_table(records: Sequence[Record], comparisons: Mapping[Group, Comparison]) -> pd.DataFrame:
    """One row per (dataset, model, init, mode, protocol), from finished runs.

    Columns: those five, ``n_seeds``; per metric its mean over seeds and ``METRIC_std``, the sample standard
    deviation (NaN for a single seed; both NaN where only some seeds report the metric);
    ``METRIC_improvement_%`` over `none` of the same dataset, model and protocol; ``p_holm`` and ``mark``
    (better, worse, tie, mixed) of the paired test against it, NaN and None where there is none.
    """
    groups = grouped(records)
    metrics = _metrics_in_order({metric for record in records for metric in record["test"]})
    rows: list[dict[str, Any]] = []
    for group, members in groups.items():
        tests = pd.DataFrame([record["test"] for record in members]).reindex(columns=metrics).astype(float)
        mean, std = tests.mean(skipna=False), tests.std(ddof=1, skipna=False)
        row: dict[str, Any] = dict(zip(GROUP_KEYS, group, strict=True)) | {"n_seeds": len(members)}
        for metric in metrics:
            row |= {metric: mean[metric], f"{metric}_std": std[metric]}
        rows.append(row)
    _add_improvements(rows, [m for m in _IMPROVEMENTS if m in metrics] or _headline(metrics)[:2])
    for row, group in zip(rows, groups, strict=True):
        comparison = comparisons.get(group)
        row["p_holm"] = comparison.p_holm if comparison else math.nan
        row["mark"] = comparison.mark if comparison else None
    table = pd.DataFrame(rows)
    if rows:  # else pandas 3 makes it a column of strings, and of None NaN
        table["mark"] = pd.Series([row["mark"] for row in rows], dtype=object)
    return table


def costs_table(records: Sequence[Record]) -> pd.DataFrame:
    """What each row of the leaderboard costs, means over its seeds; NaN where the records don't say.

    Columns: the group's five, ``parameters`` and ``trainable`` and ``item_embedding`` (numbers of
    parameters), ``flops`` (RecBole's count), ``seconds_per_epoch``, ``best_epoch`` (counted from 0), ``epochs_to_none``
    (until the best validation score that `none` reached with the same seed, over the ``seeds_to_none`` seeds that got
    there), ``seconds_to_best`` (training and validating up to it), ``seconds_training``, ``ms_per_user`` (one
    evaluation divided by the dataset's users),
    ``peak_memory_mb``.
    """
    best_of_none = {
        (record["dataset"], record["model"], record["protocol"], record["seed"]): max(_validations(record))
        for record in records
        if record["init"] == "none" and _validations(record)
    }
    rows = []
    for group, members in grouped(records).items():
        costs = pd.DataFrame([_costs(record) for record in members]).astype(float).mean().to_dict()
        epochs = [
            _epochs_to(best_of_none.get((r["dataset"], r["model"], r["protocol"], r["seed"])), r) for r in members
        ]
        reached = [count for count in epochs if count is not None]
        costs["epochs_to_none"] = sum(reached) / len(reached) if reached else math.nan
        costs["seeds_to_none"] = len(reached)
        rows.append(dict(zip(GROUP_KEYS, group, strict=True)) | costs)
    return pd.DataFrame(rows)


def metrics_of(table: pd.DataFrame) -> list[str]:
    """The metrics of a leaderboard table, in its order."""
    return [column.removesuffix("_std") for column in table.columns if column.endswith("_std")]


def improvements_of(table: pd.DataFrame) -> list[str]:
    """The metrics whose improvement over `none` a leaderboard table holds, in its order."""
    return [c.removesuffix("_improvement_%") for c in table.columns if c.endswith("_improvement_%")]


def headline_metrics(table: pd.DataFrame) -> list[str]:
    """The metrics to look at first, the main one in front: NDCG, Recall, MRR at 10 or the nearest cutoff."""
    return _headline(metrics_of(table))


def places(table: pd.DataFrame, metric: str) -> list[int]:
    """Per row 1 for the best and 2 for the second best of its dataset and protocol, else 0.

    Equal to four decimals counts as equal. A row without rivals gets no place.
    """
    values = table[metric].round(4)
    by_family = values.groupby([table["dataset"], table["protocol"]])
    rank = by_family.rank(method="dense", ascending=False)
    rank = rank.where((by_family.transform("count") > 1) & (rank <= 2), 0)
    return [int(place) for place in rank.fillna(0)]


def _add_improvements(rows: list[dict[str, Any]], metrics: Sequence[str]) -> None:
    partners = {(r["dataset"], r["model"], r["protocol"]): r for r in reversed(rows) if r["init"] == "none"}
    for row in rows:
        partner = partners.get((row["dataset"], row["model"], row["protocol"]))
        for metric in metrics:
            base = partner[metric] if partner is not None and row["init"] != "none" else math.nan
            row[f"{metric}_improvement_%"] = 100.0 * (row[metric] / base - 1.0) if base else math.nan


def _costs(record: Record) -> dict[str, float | None]:
    parameters = record.get("parameters") or {}
    seconds = record.get("seconds") or {}
    users = (record.get("dataset_statistics") or {}).get("users")
    per_evaluation = seconds.get("per_evaluation")
    return {
        "parameters": parameters.get("total"),
        "trainable": parameters.get("trainable"),
        "item_embedding": parameters.get("item_embedding"),
        "flops": record.get("flops"),
        "seconds_per_epoch": seconds.get("per_epoch"),
        "best_epoch": record.get("best_epoch"),
        "seconds_to_best": _seconds_to_best(record),
        "seconds_training": seconds.get("training"),
        "ms_per_user": 1000.0 * per_evaluation / users if users and per_evaluation is not None else None,
        "peak_memory_mb": record.get("peak_memory_mb"),
    }


def _validations(record: Record) -> list[float]:
    return [point["valid"] for point in record.get("curve") or [] if point.get("valid") is not None]


def _epochs_to(score: float | None, record: Record) -> int | None:
    """The number of epochs after which validation was at ``score`` or above; None if it never was."""
    if score is None:
        return None
    return next((epoch for epoch, valid in enumerate(_validations(record), 1) if valid >= score), None)


def _seconds_to_best(record: Record) -> float | None:
    best, curve = record.get("best_epoch"), record.get("curve")
    if best is None or not curve:
        return None
    seconds = ("train_seconds", "valid_seconds")
    return sum(point.get(key, 0.0) for point in curve if point["epoch"] <= best for key in seconds)


def _metrics_in_order(metrics: set[str]) -> list[str]:
    """recall@K…, ndcg@K…, mrr@K…, K ascending; then whatever else RecBole was asked for."""

    def order(metric: str) -> tuple[int, str, int]:
        family, cutoff = _split(metric)
        return (_FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES), family, cutoff)

    return sorted(metrics, key=order)


def _headline(metrics: Sequence[str]) -> list[str]:
    chosen = []
    for family in ("ndcg", "recall", "mrr"):
        of_family = [metric for metric in metrics if _split(metric)[0] == family]
        chosen += sorted(of_family, key=_distance_from_ten)[:1]
    return chosen or list(metrics[:3])


def _distance_from_ten(metric: str) -> tuple[float, int]:
    cutoff = _split(metric)[1]
    return abs(math.log(max(cutoff, 1) / 10)), cutoff


def _split(metric: str) -> tuple[str, int]:
    family, _, cutoff = metric.partition("@")
    return family, int(cutoff) if cutoff.isdigit() else 0
