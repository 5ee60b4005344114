"""The two tables of a benchmark: quality (the leaderboard, ``leaderboard.csv``) and costs, one line for each row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from recbole_ext.records import Grid, Published, Row, RowKey, RunRecord
from recbole_ext.report.metrics import compared, headline, in_order, sign
from recbole_ext.report.results import Result
from recbole_ext.report.significance import Comparisons

KEYS = RowKey._fields
AT_LIMIT = "†"
"""Marks what was still training when the epoch limit ended it."""
EXPECTED = "expected: this project's own run"
"""In the place of "published", so that nobody takes it for other people's confirmation."""


@dataclass(frozen=True)
class Leaderboard:
    """A benchmark's results as a table.

    Attributes:
        table: one line for each row that was asked for and each published number; see :func:`leaderboard`.
        metrics: those that finished runs report, in order.
        headline: the two to look at first, the one that rows are ranked by in front.
        compared: those in which rows are compared with their baselines.
    """

    grid: Grid
    results: dict[RowKey, Result]
    table: pd.DataFrame
    metrics: list[str]
    headline: list[str]
    compared: list[str]

    @property
    def at_a_glance(self) -> tuple[list[str], list[str]]:
        """The metrics and comparisons to show first: of the ranking, and those in which others published numbers."""
        published = {name for number in self.grid.published for name in number.metrics}
        metrics = [*self.headline, *(m for m in self.metrics if m in published and m not in self.headline)]
        return metrics, [m for m in self.compared if m == self.compared[0] or improvement_of(m) in published]

    def with_table(self, table: pd.DataFrame) -> Leaderboard:
        """The same with more columns."""
        return replace(self, table=table)

    @property
    def baselines(self) -> dict[RowKey, Result]:
        """The baseline of each row that has one."""
        return baselines_of(self.results)

    def fair(self) -> pd.DataFrame:
        """The lines whose comparison with their baseline is fair; see the column ``fair`` of :func:`leaderboard`."""
        return self.table[self.table["fair"]]


def leaderboard(grid: Grid, results: Sequence[Result], comparisons: Comparisons) -> Leaderboard:
    """The leaderboard of a grid, by dataset and protocol in the grid's order, the best by its metric first.

    Columns: ``rank`` among the rows of its dataset and protocol; the row's ``dataset``, ``model``, ``variant``,
    ``protocol``; ``mode``, ``vectors``, ``baseline``; ``n_seeds`` and ``trials``, how many have finished; ``chosen``
    (the trial's settings) with its ``validation`` on the search's seed and ``validation_median`` over the trials. For
    each metric mean, ``METRIC_std`` (sample standard deviation) and ``METRIC_median`` over seeds; for those compared,
    over the row's baseline, in per cent of the baseline's mean: ``METRIC_improvement_%`` and the ends of its 95 %
    interval, ``METRIC_low_%`` and ``METRIC_high_%``; ``METRIC_p_holm`` and ``METRIC_mark`` (better, worse, tie).
    ``parameters`` and ``seconds_training``, means over seeds. ``remarks``: what is missing of the row, why it was not
    tested, that the epoch limit ended it. ``fair``: whether it was tested against its baseline after an equal search,
    and the epoch limit ended neither. ``source``: who published the numbers of the line; empty for runs of this
    benchmark. ``date`` of the last run. Numbers that there are not are NaN, texts empty.
    """
    by_key = {result.key: result for result in results}
    metrics = metrics_of(results)
    shown, tested = headline(metrics, grid.metric), compared(metrics, grid.metric)
    baselines = baselines_of(by_key)
    lines = [_line(result, baselines.get(result.key), metrics, tested, comparisons) for result in results]
    lines += [_published(number, metrics, tested) for number in grid.published if not _is_of_these(number, results)]
    ordered = list(_ordered(lines, shown[0], direction_of(results, shown[0])))
    columns = ["rank", *KEYS, "mode", "vectors", "baseline", "n_seeds", "trials", "chosen"]
    columns += ["validation", "validation_median"]
    columns += [column for metric in metrics for column in (metric, std_of(metric), median_of(metric))]
    columns += [column for metric in tested for column in _columns_of_comparison(metric)]
    columns += ["parameters", "seconds_training", "fair", "remarks", "source", "date"]
    table = pd.DataFrame(ordered, columns=columns)
    return Leaderboard(grid, by_key, table, metrics, shown, tested)


def costs_table(results: Sequence[Result]) -> pd.DataFrame:
    """What each row costs, means over its seeds; NaN where the records don't say.

    Columns: the row's four, ``parameters`` and ``trainable`` and ``item_embedding`` (numbers of parameters), of a model
    that is not trained none, ``flops``
    (RecBole's count), ``seconds_per_epoch``, ``best_epoch`` (the first is 1), ``epochs_to_baseline`` (until the best
    validation score that the row's baseline reached with the same seed, over the ``seeds_to_baseline`` seeds that got
    there), ``seconds_to_best`` (training and validating up to it), ``seconds_training``, ``ms_per_user`` (one
    validation divided by the users that it ranks for), ``peak_memory_mb`` (the device's own where there is one).
    """
    baselines = baselines_of({result.key: result for result in results})
    rows = []
    for result in results:
        if not result.runs or result.of_lists:
            continue
        costs = pd.DataFrame([_costs(record) for record in result.runs]).astype(float).mean().to_dict()
        reached = _epochs_to_baseline(result, baselines.get(result.key))
        costs["epochs_to_baseline"] = sum(reached) / len(reached) if reached else math.nan
        costs["seeds_to_baseline"] = len(reached)
        rows.append(result.key._asdict() | costs)
    return pd.DataFrame(rows)


def metrics_of(results: Sequence[Result]) -> list[str]:
    """The metrics that finished runs report, in order."""
    return in_order(metric for result in results for record in result.runs for metric in record.evaluated.test)


def direction_of(results: Iterable[Result], metric: str) -> int:
    """1 where larger is better, else −1; of a metric of the user's own only runs that went by it know."""
    records = (record.evaluated for result in results for record in result.runs)
    found = (record.direction for record in records if record.valid_metric == metric)
    return next(found, sign(metric))


def baselines_of(results: Mapping[RowKey, Result]) -> dict[RowKey, Result]:
    """The baseline of each row that has one: the same dataset, model and protocol with another variant.

    Lists from outside name another model too.
    """
    named = {key: result.baseline for key, result in results.items()}
    return {key: results[baseline] for key, baseline in named.items() if baseline is not None and baseline in results}


def lines_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in line.items()} for line in table.to_dict("records")]


def key_of(line: Mapping[str, Any]) -> RowKey:
    return RowKey(*(line[key] for key in KEYS))


def std_of(metric: str) -> str:
    return f"{metric}_std"


def median_of(metric: str) -> str:
    return f"{metric}_median"


def improvement_of(metric: str) -> str:
    return f"{metric}_improvement_%"


def ends_of(metric: str) -> tuple[str, str]:
    return f"{metric}_low_%", f"{metric}_high_%"


def p_of(metric: str) -> str:
    return f"{metric}_p_holm"


def mark_of(metric: str) -> str:
    return f"{metric}_mark"


def places(table: pd.DataFrame, column: str, direction: int = 1) -> list[int]:
    """Per line 1 for the best and 2 for the second best of its dataset and protocol, else 0.

    Equal to four decimals counts as equal. A line without rivals gets no place, a published number neither, and none is
    given where all are equal.
    """
    values = (direction * table[column]).round(4).where(table["source"] == "")
    by_family = values.groupby([table["dataset"], table["protocol"]])
    rank = by_family.rank(method="dense", ascending=False)
    rank = rank.where((by_family.transform("nunique") > 1) & (rank <= 2), 0)
    return [int(place) for place in rank.fillna(0)]


def _line(
    result: Result,
    baseline: Result | None,
    metrics: Sequence[str],
    tested: Sequence[str],
    comparisons: Comparisons,
) -> dict[str, Any]:
    row, chosen = result.row, result.chosen
    line: dict[str, Any] = result.key._asdict() | {
        "mode": row.mode,
        "vectors": row.vectors,
        "baseline": result.baseline_in_words,
        "n_seeds": len(result.runs),
        "trials": len(result.search),
        "chosen": ", ".join(f"{key}={_setting(value)}" for key, value in chosen.trial.items()) if chosen else "",
        "validation": _number(chosen.done.score if chosen else None),
        "validation_median": _number(result.median_of_search),
        "parameters": _mean(r.made.parameters.total for r in result.runs if r.made and r.made.is_trained),
        "seconds_training": _mean(record.made.seconds.training for record in result.runs if record.made),
        "source": "",
        "date": max((record.date for record in result.runs), default=""),
    }
    tests = pd.DataFrame([record.evaluated.test for record in result.runs], dtype=float).reindex(columns=list(metrics))
    mean, std, median = (getattr(tests, name)(skipna=False) for name in ("mean", "std", "median"))
    for metric in metrics:
        line |= {metric: mean[metric], std_of(metric): std[metric], median_of(metric): median[metric]}
    for metric in tested:
        line |= _compared_with(baseline, metric, line[metric], comparisons, result.key)
    line["fair"] = (
        baseline is not None
        and bool(line[mark_of(tested[0])])
        and _tried_the_same(result, baseline)
        and result.row.config == baseline.row.config
        and not (result.at_limit or baseline.at_limit)
    )
    remarks = [*result.of_lists, result.state, comparisons.untested.get(result.key, "")]
    if result.baseline is not None and baseline is None:
        remarks.append(f"no row with its baseline {result.baseline_in_words}")
    if baseline is not None and len(result.search) == len(baseline.search) and not _tried_the_same(result, baseline):
        remarks.append(f"its search tried other points than that of {baseline.row.variant}")
    if baseline is not None and (others := _other_settings(result.row, baseline.row)):
        remarks.append(f"other settings than {baseline.row.variant}: {others}")
    remarks.append(result.ties_in_words)
    if result.at_limit:
        of = f" ({result.at_limit} of {len(result.finished)} runs)" if result.at_limit < len(result.finished) else ""
        remarks.append(f"{AT_LIMIT} epoch limit{of}")
    return line | {"remarks": "; ".join(filter(None, remarks))}


def _tried_the_same(result: Result, baseline: Result) -> bool:
    """Whether both searches have tried the same points, in the keys that say something about both rows."""
    sides = [[record.trial for record in side.search] for side in (result, baseline)]
    keys = [{key for trial in side for key in trial} for side in sides]
    shared = keys[0] & keys[1]
    ours, theirs = (
        sorted(json.dumps({key: trial[key] for key in sorted(shared & trial.keys())}, default=str) for trial in side)
        for side in sides
    )
    return ours == theirs


def _other_settings(row: Row, baseline: Row) -> str:
    """What the entries of the two set differently, in words."""
    keys = dict.fromkeys((*row.config, *baseline.config))
    differing = [key for key in keys if row.config.get(key) != baseline.config.get(key)]
    return ", ".join(
        f"{key} {row.config.get(key, 'unset')}, there {baseline.config.get(key, 'unset')}" for key in differing
    )


def _compared_with(
    baseline: Result | None, metric: str, mean: float, comparisons: Comparisons, key: RowKey
) -> dict[str, Any]:
    low, high = ends_of(metric)
    line: dict[str, Any] = dict.fromkeys((improvement_of(metric), low, high, p_of(metric)), math.nan)
    line[mark_of(metric)] = ""
    runs = baseline.runs if baseline else []
    base = pd.Series([record.evaluated.test.get(metric, math.nan) for record in runs], dtype=float).mean(skipna=False)
    if not base or math.isnan(base):
        return line
    line[improvement_of(metric)] = 100.0 * (mean / base - 1.0)
    comparison = comparisons.made.get((key, metric))
    if comparison:
        # Its own, which the interval is around: where a run of several tunings failed, not that of the means.
        line[improvement_of(metric)] = 100.0 * comparison.gain.gain
        line |= {low: 100.0 * comparison.gain.low, high: 100.0 * comparison.gain.high}
        line |= {p_of(metric): comparison.p_holm, mark_of(metric): comparison.mark}
    return line


def _published(number: Published, metrics: Sequence[str], tested: Sequence[str]) -> dict[str, Any]:
    """A line of numbers that others published, of which those are shown that the table has a column for."""
    columns = {*metrics, *(improvement_of(metric) for metric in tested)}
    left_out = [metric for metric in number.metrics if metric not in columns]
    line: dict[str, Any] = dict.fromkeys(("mode", "vectors", "baseline", "chosen", "date"), "")
    line |= {"dataset": number.dataset, "model": number.model, "variant": number.variant or ""}
    line |= {"protocol": number.protocol, "source": number.source, "fair": False} | dict.fromkeys(
        map(mark_of, tested), ""
    )
    values = {metric: value for metric, value in number.metrics.items() if metric in columns}
    remarks = [f"also {metric} {number.metrics[metric]:g}" for metric in left_out]
    said = EXPECTED if number.made else "published"
    return line | values | {"remarks": "; ".join([said, *remarks])}


def _is_of_these(number: Published, results: Iterable[Result]) -> bool:
    """Whether it is one of these runs' own, and confirms nothing."""
    row = (number.dataset, number.model, number.variant, number.protocol)
    return any(record.date == number.made for result in results if result.key == row for record in result.runs)


def _ordered(lines: Sequence[dict[str, Any]], metric: str, direction: int) -> Iterator[dict[str, Any]]:
    """Lines by dataset and protocol, the best first, each with its rank; published ones at their place, without one.

    A published number stands below the row that it names.
    """

    def value(line: Mapping[str, Any]) -> float:
        return direction * _number(line.get(metric))

    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        families.setdefault((line["dataset"], line["protocol"]), []).append(line)
    for family in families.values():
        ours = {key_of(line) for line in family if not line["source"]}
        beside: dict[RowKey, list[dict[str, Any]]] = {}
        alone = []
        for line in family:
            if line["source"] and key_of(line) in ours:
                beside.setdefault(key_of(line), []).append(line)
            else:
                alone.append(line)
        alone.sort(key=lambda line: (math.isnan(value(line)), -value(line)))
        ranked = [value(line) for line in alone if not line["source"]]
        for line in alone:
            known = not line["source"] and not math.isnan(value(line))
            yield line | {"rank": 1 + sum(other > value(line) for other in ranked) if known else math.nan}
            if not line["source"]:
                yield from ({**published, "rank": math.nan} for published in beside.get(key_of(line), []))


def _columns_of_comparison(metric: str) -> list[str]:
    return [improvement_of(metric), *ends_of(metric), p_of(metric), mark_of(metric)]


def _costs(record: RunRecord) -> dict[str, float | None]:
    made, parameters = record.done, record.done.parameters
    seconds, users = made.seconds.per_evaluation, made.validation_users
    return {
        "parameters": parameters.total if made.is_trained else None,
        "trainable": parameters.trainable if made.is_trained else None,
        "item_embedding": parameters.item_embedding if made.is_trained else None,
        "flops": made.flops,
        "seconds_per_epoch": made.seconds.per_epoch,
        "best_epoch": made.best_epoch + 1,
        "seconds_to_best": made.seconds_to_best,
        "seconds_training": made.seconds.training,
        "ms_per_user": 1000.0 * seconds / users if seconds is not None and users else None,
        "peak_memory_mb": made.peak_memory_mb if made.peak_device_memory_mb is None else made.peak_device_memory_mb,
    }


def _epochs_to_baseline(result: Result, baseline: Result | None) -> list[int]:
    """For each seed that got there the epochs until validation was at the baseline's best with that seed."""
    best = {record.seed: _best(record) for record in (baseline.runs if baseline else [])}
    reached = []
    for record in result.runs:
        score = best.get(record.seed)
        way = record.done.direction
        if score is not None:
            there = (epoch for epoch, valid in record.done.validations.items() if way * valid >= way * score)
            reached += [epoch + 1 for epoch in [next(there, None)] if epoch is not None]
    return reached


def _best(record: RunRecord) -> float | None:
    validations = record.done.validations.values()
    way = record.done.direction
    return max(validations, key=lambda valid: way * valid) if validations else None


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value
