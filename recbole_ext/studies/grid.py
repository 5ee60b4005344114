"""Studies that are grids of runs: one thing varies, everything else is a benchmark like any other.

``layers`` (how deep a PLM is), ``freezing`` (what may move), ``objectives`` (what a PLM was tuned for),
``data-amount`` (on how much), ``long-sequences`` (how much history is read): each is a preset of this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RowKey
from recbole_ext.report.cells import NOTHING, p_cell, signed
from recbole_ext.report.leaderboard import AT_LIMIT, direction_of
from recbole_ext.report.looks import Looks
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.results import Result, finished_results_of
from recbole_ext.report.significance import compare_with_baselines
from recbole_ext.settings import CheckedSettings
from recbole_ext.studies.written import Findings

if TYPE_CHECKING:
    from recbole_ext.benchmark import Resolved

By = Literal["variant", "model", "protocol"]


class Settings(CheckedSettings):
    """A benchmark, and which of its parts is the study's question."""

    title: str
    """Of the study's page."""
    question: str
    """One sentence, printed above the numbers."""
    by: By
    """What varies: the figure's axis, in the order of the benchmark."""
    reference: str
    """The value of ``by`` that the others are compared with."""
    metric: str = "ndcg@10"
    """Test metric in which they are compared."""
    encoder_costs: bool = False
    """Set the metric against each variant's encoder too: its parameters, and the time of an item, taken here."""
    benchmark: dict[str, Any]
    """As in a benchmark's YAML; what it includes is looked for in the working folder. Its runs and leaderboard go to
    the folder of its name."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Keys of the benchmark, of RecBole or of the hook that override what it says, as ``run`` takes them."""

    @model_validator(mode="after")
    def _costs_of_variants(self) -> Settings:
        if self.encoder_costs and self.by != "variant":
            raise ValueError("encoder_costs: an encoder is a variant's; set `by: variant`")
        return self


def run(settings: Settings, command: str) -> Findings:
    """Run what is missing of the grid and compare the values of ``by``, cell by cell.

    Raises:
        ConfigurationError: the benchmark is wrong, a run failed, or ``reference`` is none of the values.
    """
    from recbole_ext.runs.grid import grid_of

    resolved, folder = finished_benchmark(settings, command)
    results = finished_results_of(folder, grid_of(resolved))
    table = compare(results, settings, folder)
    name = folder.name
    figures = {name: _figure(table, settings)}
    if settings.encoder_costs:
        from recbole_ext.studies.encoder_costs import encoder_costs

        table = table.merge(encoder_costs(resolved), on=["dataset", "variant"], how="left")
        figures[f"{name}-costs"] = _figure_of_costs(table, settings)
    return Findings(
        title=settings.title,
        sentence=_sentence(table, settings, direction_of(results, settings.metric)),
        table=table,
        text=_markdown(table, settings),
        figures=figures,
    )


def resolved_benchmark(settings: Settings, command: str, fetch: bool = True) -> Resolved:
    """What the study's benchmark asks for.

    Raises:
        ConfigurationError: it is wrong.
    """
    from recbole_ext.benchmark import resolve
    from recbole_ext.benchmark.file import read_benchmark

    where, benchmark, recboles = read_benchmark(settings.benchmark, settings.overrides)
    return resolve(benchmark, recboles, command, where, fetch)


def finished_benchmark(settings: Settings, command: str) -> tuple[Resolved, Path]:
    """Run and report the study's benchmark; returns what it asked for and the folder of its runs.

    Raises:
        ConfigurationError: it is wrong, or a run failed.
    """
    from recbole_ext.report import write_report
    from recbole_ext.runs.grid import run_benchmark

    resolved = resolved_benchmark(settings, command)
    failed = run_benchmark(resolved)
    if failed:
        raise ConfigurationError(f"{failed[0].record_path}: the run failed; see there why, mend it and call again.")
    return resolved, write_report(resolved.benchmark.folder).folder


def plan(settings: Settings) -> list[str]:
    """What :func:`run` would do, in lines; runs nothing.

    Raises:
        ConfigurationError: the benchmark is wrong.
    """
    from recbole_ext.benchmark.plan import plan_lines
    from recbole_ext.runs.recording import is_done

    return plan_lines(resolved_benchmark(settings, "", fetch=False), is_done)


def compare(results: Sequence[Result], settings: Settings, folder: Path) -> pd.DataFrame:
    """Mean and standard deviation over seeds of each row, its change to the reference's, and what it cost.

    A cell is what differs in ``by`` alone; within one the rows are in the benchmark's order. Columns: the row's four,
    ``cell`` and ``value`` in words, ``n_seeds, mean, std, change_%`` (of the mean, to the reference's) with the ends of
    its 95 % interval ``low_%, high_%`` and ``p_holm``, NaN below three seeds (see
    :func:`recbole_ext.report.significance.difference_of_means`), ``best_epoch``, ``training_seconds``, ``trainable``
    (parameters), ``at_limit`` (runs that the epoch limit ended).

    Raises:
        ConfigurationError: no finished row has the reference's value, or no run reports the metric.
    """
    finished = {result.key: result for result in results if result.runs}
    values = list(dict.fromkeys(getattr(key, settings.by) for key in finished))
    if settings.reference not in values:
        raise ConfigurationError(
            f"reference: no run has {settings.by} {settings.reference!r}, but {', '.join(values)}."
        )
    references = {key: finished.get(_reference(key, settings)) for key in finished}
    compared = {key: other for key, other in references.items() if other is not None and other.key != key}
    comparisons = compare_with_baselines(list(finished.values()), compared, [settings.metric], folder).made
    several = [name for name in RowKey._fields if name != settings.by and len({getattr(k, name) for k in finished}) > 1]
    rows = []
    for key, result in finished.items():
        scores = _scores(result, settings.metric)
        reference = references[key]
        base = math.nan if reference is None else float(np.mean(_scores(reference, settings.metric)))
        comparison = comparisons.get((key, settings.metric))
        gain, p = (comparison.gain, comparison.p_holm) if comparison else (None, math.nan)
        rows.append(
            key._asdict()
            | {
                "cell": ", ".join(getattr(key, name) for name in several) or f"{key.dataset}, {key.model}",
                "value": getattr(key, settings.by),
                "n_seeds": len(scores),
                "mean": float(np.mean(scores)),
                "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan,
                # Of a comparison its own, which the interval is around.
                "change_%": 100 * (gain.gain if gain else float(np.mean(scores)) / base - 1 if base else math.nan),
                "low_%": 100 * gain.low if gain else math.nan,
                "high_%": 100 * gain.high if gain else math.nan,
                "p_holm": p,
                "best_epoch": float(np.mean([record.done.best_epoch + 1 for record in result.runs])),
                "training_seconds": float(np.mean([record.done.seconds.training for record in result.runs])),
                "trainable": result.runs[0].done.parameters.trainable,
                "at_limit": result.at_limit,
            }
        )
    table = pd.DataFrame(rows)
    cells = list(table["cell"].unique())
    order = sorted(table.index, key=lambda at: (cells.index(table["cell"][at]), values.index(table["value"][at])))
    return table.loc[order].reset_index(drop=True)


def _reference(key: RowKey, settings: Settings) -> RowKey:
    return key._replace(**{settings.by: settings.reference})


def _scores(result: Result, metric: str) -> list[float]:
    tests = [record.done.test for record in result.runs]
    if any(metric not in test for test in tests):
        raise ConfigurationError(f"metric: {result.key} does not report {metric}; it has {', '.join(tests[0])}.")
    return [test[metric] for test in tests]


def _sentence(table: pd.DataFrame, settings: Settings, direction: int) -> str:
    parts = []
    for name, cell in table.groupby("cell", sort=False):
        best = cell.loc[(direction * cell["mean"]).idxmax()]
        reference = cell[cell["value"] == settings.reference]
        is_change = best["value"] != settings.reference and not math.isnan(best["change_%"])
        against = f", {best['change_%']:+.1f} % to {settings.reference}" if is_change else ""
        known = f" ({reference['mean'].iloc[0]:.4f})" if len(reference) and against else ""
        reach = cell["std"].fillna(0).clip(lower=best["std"] if best["n_seeds"] > 1 else 0)
        close = cell.loc[(direction * (best["mean"] - cell["mean"]) <= reach) & (cell.index != best.name), "value"]
        level = f"; no further from it than a standard deviation over seeds: {', '.join(close)}" if len(close) else ""
        parts.append(f"{name}: best is {best['value']} with {best['mean']:.4f}{against}{known}{level}")
    return f"{settings.question} Test {metric_title(settings.metric)}: {'. '.join(parts)}."


COSTS = {"encoder_parameters": ("encoder's parameters", ",.0f"), "ms_per_item": ("encoding, ms per item", ".2f")}
"""Column of :func:`~recbole_ext.studies.encoder_costs.encoder_costs`: its title, and how its numbers are written."""


def _markdown(table: pd.DataFrame, settings: Settings) -> str:
    costs = {column: titled for column, titled in COSTS.items() if column in table}
    title = metric_title(settings.metric)
    lines = [
        f"| dataset | model | initialisation | protocol | seeds | {title} | to {settings.reference} | p (Holm) "
        "| best epoch | training, s | trainable parameters |" + "".join(f" {title} |" for title, _ in costs.values()),
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |" + " ---: |" * len(costs),
    ]
    for row in table.to_dict("records"):
        spread = "" if np.isnan(row["std"]) else f" ± {row['std']:.4f}"
        limit = f" {AT_LIMIT}" if row["at_limit"] else ""
        own = [NOTHING if np.isnan(row[cost]) else f"{row[cost]:{style}}" for cost, (_, style) in costs.items()]
        lines.append(
            f"| {row['dataset']} | {row['model']} | {row['variant']} | {row['protocol']} | {row['n_seeds']} "
            f"| {row['mean']:.4f}{spread}{limit} | {_change(row)} | {p_cell(row['p_holm']).text} "
            f"| {row['best_epoch']:.0f} | {row['training_seconds']:.0f} | {row['trainable']:,} |"
            + "".join(f" {cost} |" for cost in own)
        )
    lines += ["", "In brackets the 95 % interval over users and seeds, from three seeds on both sides on."]
    if table["at_limit"].any():
        lines += [f"{AT_LIMIT} The epoch limit ended runs that were still training."]
    if costs:
        lines += [f"An item's time is that of its text alone, {', '.join(table['timed_on'].dropna().unique())}."]
    return "\n".join(lines) + "\n"


def _change(row: Mapping[Any, Any]) -> str:
    if math.isnan(row["change_%"]):
        return NOTHING
    interval = "" if math.isnan(row["low_%"]) else f" [{signed(row['low_%'], 1)}, {signed(row['high_%'], 1)}]"
    return f"{signed(row['change_%'], 1)} %{interval}"


def _figure_of_costs(table: pd.DataFrame, settings: Settings) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter

    known = table.dropna(subset=list(COSTS))
    looks = Looks.of(known["value"])
    cells = list(known.groupby("cell", sort=False))
    figure = Figure(figsize=(10, 4 * len(cells) + 0.6), layout="constrained")
    for axes, (name, cell) in zip(figure.subplots(len(cells), 2, squeeze=False), cells, strict=True):
        for axis, (cost, (title, _)) in zip(axes, COSTS.items(), strict=True):
            for row in cell.to_dict("records"):
                look = looks[row["value"]]
                axis.errorbar(
                    row[cost],
                    row["mean"],
                    yerr=np.nan_to_num(row["std"]),
                    elinewidth=0.7,
                    color=look.colour,
                    marker=look.marker,
                )
            axis.set(title=name, xlabel=title)
        axes[0].xaxis.set_major_formatter(EngFormatter())
        axes[0].set_ylabel(metric_title(settings.metric))
    shapes = [
        Line2D([], [], color=looks[v].colour, marker=looks[v].marker, linestyle="none", label=v) for v in looks.names
    ]
    figure.legend(handles=shapes, loc="outside lower center", ncols=5, fontsize="small")
    return figure


def _figure(table: pd.DataFrame, settings: Settings) -> Any:
    from matplotlib.figure import Figure

    cells = list(table.groupby("cell", sort=False))
    width = max(4.0, 1 + 0.45 * table["value"].nunique())  # so that the names under the points do not overlap
    figure = Figure(figsize=(width * len(cells), 3.2), layout="constrained")
    axes = figure.subplots(1, len(cells), squeeze=False)[0]
    for axis, (name, cell) in zip(axes, cells, strict=True):
        place = np.arange(len(cell))
        axis.errorbar(place, cell["mean"], yerr=cell["std"].fillna(0), fmt="o", capsize=3)
        base = cell.loc[cell["value"] == settings.reference, "mean"]
        if len(base):
            axis.axhline(base.iloc[0], color="grey", linewidth=0.8, linestyle="--")
        axis.set(title=name, xticks=place, ylabel=metric_title(settings.metric) if axis is axes[0] else "")
        axis.set_xticklabels(cell["value"], rotation=30, ha="right")
    return figure
