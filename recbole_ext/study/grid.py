"""Studies that are grids of runs: one thing varies, everything else is a benchmark like any other.

``layers`` (how deep a PLM is), ``freezing`` (what may move), ``objectives`` (what a PLM was tuned for),
``data-amount`` (on how much), ``long-sequences`` (how much history is read): each is a preset of this module.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from recbole_ext.errors import ConfigurationError
from recbole_ext.study.written import Findings


class Settings(BaseModel):
    """A benchmark, and which of its parts is the study's question."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    title: str
    question: str
    """One sentence, printed above the numbers."""
    by: Literal["init", "mode", "protocol", "model"]
    """What varies: the figure's axis, in the order of the benchmark."""
    reference: str
    """The value of ``by`` that the others are compared with."""
    metric: str = "ndcg@10"
    encoder_costs: bool = False
    """Set the metric against each initialisation's encoder too: its parameters, and the time of an item, taken here."""
    benchmark: dict[str, Any]
    """As in a benchmark's YAML; its runs and leaderboard go to ``results/NAME``."""

    @model_validator(mode="after")
    def _costs_of_initialisations(self) -> Settings:
        if self.encoder_costs and self.by != "init":
            raise ValueError("encoder_costs: an encoder is an initialisation's; set `by: init`")
        return self


def run(settings: Settings) -> Findings:
    """Run what is missing of the grid and compare the values of ``by``, cell by cell.

    Raises:
        ConfigurationError: the benchmark is wrong, a run failed, or ``reference`` is none of the values.
    """
    from recbole_ext.run.benchmark_file import checked_benchmark
    from recbole_ext.run.grid import run_benchmark

    benchmark = checked_benchmark(settings.benchmark, "benchmark")
    _, failed = run_benchmark(benchmark, f"recbole-ext study, results/{benchmark.name}")
    if failed:
        raise ConfigurationError(f"{failed[0].record_path}: the run failed; see there why, mend it and call again.")
    paths = sorted((benchmark.results / benchmark.name / "runs").glob("*.json"))
    table = compare([json.loads(path.read_text(encoding="utf-8")) for path in paths], settings)
    figures = {benchmark.name: _figure(table, settings)}
    if settings.encoder_costs:
        from recbole_ext.study.encoder_costs import encoder_costs

        table = table.merge(encoder_costs(benchmark), on=["dataset", "value"], how="left")
        figures[f"{benchmark.name}-costs"] = _figure_of_costs(table, settings)
    return Findings(
        title=settings.title,
        sentence=_sentence(table, settings),
        numbers={"rows": json.loads(table.to_json(orient="records"))},
        text=_markdown(table, settings),
        figures=figures,
    )


def compare(records: list[dict[str, Any]], settings: Settings) -> pd.DataFrame:
    """Per dataset, model and value of ``by``: mean and standard deviation over seeds, and what it cost.

    Columns: ``dataset, model, value, n_seeds, mean, std, change_%`` (of the mean, to the reference's), ``best_epoch``,
    ``training_seconds``, ``trainable`` (parameters).

    Raises:
        ConfigurationError: no run has the reference's value.
    """
    from recbole_ext.report import select_candidates

    rows = [
        {
            "dataset": record["dataset"],
            "model": record["model"],
            "value": record[settings.by],
            "score": record["test"][settings.metric],
            "best_epoch": record["best_epoch"],
            "training_seconds": record["seconds"]["training"],
            "trainable": record["parameters"]["trainable"],
        }
        for record in select_candidates([record for record in records if record["status"] == "done"])
    ]
    runs = pd.DataFrame(rows)
    grouped = runs.groupby(["dataset", "model", "value"], sort=False)
    table = grouped.agg(
        n_seeds=("score", "size"),
        mean=("score", "mean"),
        std=("score", "std"),
        best_epoch=("best_epoch", "mean"),
        training_seconds=("training_seconds", "mean"),
        trainable=("trainable", "first"),
    ).reset_index()
    if settings.reference not in set(table["value"]):
        raise ConfigurationError(f"reference: no run has {settings.by} {settings.reference!r}.")
    base = table[table["value"] == settings.reference].set_index(["dataset", "model"])["mean"]
    own = pd.MultiIndex.from_frame(table[["dataset", "model"]])
    table["change_%"] = 100 * (table["mean"] / base.reindex(own).to_numpy() - 1)
    order = {value: place for place, value in enumerate(_order(settings))}
    table["place"] = [order.get(value, len(order)) for value in table["value"]]
    return table.sort_values(["dataset", "model", "place"], kind="stable").drop(columns="place").reset_index(drop=True)


def _order(settings: Settings) -> list[str]:
    from recbole_ext.attach import MODES

    names = {"init": "initialisations", "protocol": "protocols", "model": "models", "mode": ""}[settings.by]
    return [str(name) for name in settings.benchmark.get(names) or ["-", *MODES]]


def _sentence(table: pd.DataFrame, settings: Settings) -> str:
    parts = []
    for (dataset, model), cell in table.groupby(["dataset", "model"], sort=False):
        best = cell.loc[cell["mean"].idxmax()]
        reference = cell[cell["value"] == settings.reference]
        against = "" if best["value"] == settings.reference else f", {best['change_%']:+.1f} % to {settings.reference}"
        known = f" ({reference['mean'].iloc[0]:.4f})" if len(reference) and against else ""
        reach = cell["std"].fillna(0).clip(lower=best["std"] if best["n_seeds"] > 1 else 0)
        close = cell.loc[(best["mean"] - cell["mean"] <= reach) & (cell.index != best.name), "value"]
        level = f"; no further from it than a standard deviation over seeds: {', '.join(close)}" if len(close) else ""
        parts.append(f"{dataset}, {model}: best is {best['value']} with {best['mean']:.4f}{against}{known}{level}")
    return f"{settings.question} Test {settings.metric.upper()}: {'. '.join(parts)}."


COSTS = {"encoder_parameters": ("encoder's parameters", ",.0f"), "ms_per_item": ("encoding, ms per item", ".2f")}
"""Column of :func:`~recbole_ext.study.encoder_costs.encoder_costs`: what it is called, how its numbers are written."""


def _markdown(table: pd.DataFrame, settings: Settings) -> str:
    costs = {column: titled for column, titled in COSTS.items() if column in table}
    lines = [
        f"| dataset | model | {settings.by} | seeds | {settings.metric.upper()} | to {settings.reference} | best epoch "
        "| training, s | trainable parameters |" + "".join(f" {title} |" for title, _ in costs.values()),
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |" + " ---: |" * len(costs),
    ]
    for row in table.to_dict("records"):
        spread = "" if np.isnan(row["std"]) else f" ± {row['std']:.4f}"
        own = ["–" if np.isnan(row[cost]) else f"{row[cost]:{style}}" for cost, (_, style) in costs.items()]
        lines.append(
            f"| {row['dataset']} | {row['model']} | {row['value']} | {row['n_seeds']} | {row['mean']:.4f}{spread} "
            f"| {row['change_%']:+.1f} % | {row['best_epoch']:.0f} | {row['training_seconds']:.0f} "
            f"| {row['trainable']:,} |" + "".join(f" {cost} |" for cost in own)
        )
    if costs:
        lines += ["", f"An item's time is that of its text alone, {', '.join(table['timed_on'].dropna().unique())}."]
    return "\n".join(lines) + "\n"


def _figure_of_costs(table: pd.DataFrame, settings: Settings) -> Any:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter

    known = table.dropna(subset=list(COSTS))
    values = list(known["value"].unique())
    colours = dict(zip(values, matplotlib.color_sequences["tab20"] * len(values), strict=False))
    markers = dict(zip(values, "os^Dv*PX" * len(values), strict=False))
    cells = list(known.groupby(["dataset", "model"], sort=False))
    figure = Figure(figsize=(10, 4 * len(cells) + 0.6), layout="constrained")
    for axes, ((dataset, model), cell) in zip(figure.subplots(len(cells), 2, squeeze=False), cells, strict=True):
        for axis, (cost, (title, _)) in zip(axes, COSTS.items(), strict=True):
            for row in cell.to_dict("records"):
                look = {"color": colours[row["value"]], "marker": markers[row["value"]]}
                axis.errorbar(row[cost], row["mean"], yerr=np.nan_to_num(row["std"]), elinewidth=0.7, **look)
            axis.set(title=f"{dataset}, {model}", xlabel=title)
        axes[0].xaxis.set_major_formatter(EngFormatter())
        axes[0].set_ylabel(settings.metric.upper())
    shapes = [Line2D([], [], color=colours[v], marker=markers[v], linestyle="none", label=v) for v in values]
    figure.legend(handles=shapes, loc="outside lower center", ncols=5, fontsize="small")
    return figure


def _figure(table: pd.DataFrame, settings: Settings) -> Any:
    from matplotlib.figure import Figure

    cells = list(table.groupby(["dataset", "model"], sort=False))
    width = max(4.0, 1 + 0.45 * table["value"].nunique())  # so that the names under the points do not overlap
    figure = Figure(figsize=(width * len(cells), 3.2), layout="constrained")
    axes = figure.subplots(1, len(cells), squeeze=False)[0]
    for axis, ((dataset, model), cell) in zip(axes, cells, strict=True):
        place = np.arange(len(cell))
        axis.errorbar(place, cell["mean"], yerr=cell["std"].fillna(0), fmt="o", capsize=3)
        base = cell.loc[cell["value"] == settings.reference, "mean"]
        if len(base):
            axis.axhline(base.iloc[0], color="grey", linewidth=0.8, linestyle="--")
        axis.set(title=f"{dataset}, {model}", xticks=place, ylabel=settings.metric.upper() if axis is axes[0] else "")
        axis.set_xticklabels(cell["value"], rotation=30, ha="right")
    return figure
