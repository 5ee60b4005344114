"""``study efficiency``: what accuracy costs, per model and initialisation, and its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid
from recbole_ext.report.leaderboard import KEYS, costs_table, direction_of, leaderboard, std_of
from recbole_ext.report.looks import Look, Looks
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.results import Result, finished_results
from recbole_ext.report.significance import Comparisons
from recbole_ext.settings import CheckedSettings
from recbole_ext.studies.written import Findings

COSTS = {
    "ms_per_user": ("ms per user", ".3f"),
    "seconds_to_best": ("training s to best epoch", ".0f"),
    "parameters": ("parameters", ",.0f"),
    "trainable": ("trainable parameters", ",.0f"),
    "flops": ("FLOPs", ",.0f"),
    "peak_memory_mb": ("peak memory, MB", ",.0f"),
}
"""Column of the costs table: what it is called, and how its numbers are written."""
COLUMNS = 3
"""Planes side by side in the figure."""
WORTH_TELLING = 1.5
"""How many times the best one's cost the dearest has to have for the sentence to name it; timing alone varies."""


class Settings(CheckedSettings):
    """Which benchmark, and the two axes of the plane."""

    results: Path
    """A benchmark's folder, such as ``runs/NAME``, whose run records are read."""
    metric: str = "ndcg@10"
    """Test metric: the vertical axis."""
    cost: Literal["ms_per_user", "seconds_to_best", "parameters", "trainable", "flops", "peak_memory_mb"] = (
        "ms_per_user"
    )
    """The horizontal axis; the table holds the others too."""
    significant_digits: int = Field(default=2, ge=1)
    """To which costs are rounded before the front is drawn, so that the noise of timing puts nobody on it."""


def run(settings: Settings, command: str) -> Findings:
    """Read the records and set accuracy against cost.

    Raises:
        ConfigurationError: no finished run, or none that holds the metric or the cost.
    """
    grid, results = finished_results(settings.results)
    table = plane(grid, results, settings)
    devices = {record.done.device for result in results for record in result.runs}
    return Findings(
        title="What accuracy costs",
        sentence=_sentence(table, settings, direction_of(results, settings.metric)),
        table=table,
        text=_markdown(table, settings, sorted(devices)),
        figures={"efficiency": _figure(table, settings)},
    )


def plane(grid: Grid, results: Sequence[Result], settings: Settings) -> pd.DataFrame:
    """One row per row of the benchmark: the metric, all costs, and whether it is on the front.

    Columns: the row's four, ``n_seeds``, the metric and its ``METRIC_std``, those of the costs table (means over
    seeds), ``front``. A front is one dataset's under one protocol.

    Raises:
        ConfigurationError: no run holds the metric, or the cost.
    """
    board = leaderboard(grid.model_copy(update={"published": []}), results, Comparisons({}, {}, []))
    if settings.metric not in board.metrics:
        raise ConfigurationError(f"metric: no run reports {settings.metric}; they have {', '.join(board.metrics)}.")
    columns = [*KEYS, "n_seeds", settings.metric, std_of(settings.metric)]
    table = board.table[columns].merge(costs_table(results), on=list(KEYS))
    if table[settings.cost].isna().all():
        raise ConfigurationError(f"cost: no run in {settings.results} records {settings.cost}; choose another.")
    table["front"] = False
    direction = direction_of(results, settings.metric)
    for _, cell in table.groupby(["dataset", "protocol"]):
        rounded = [float(f"{cost:.{settings.significant_digits - 1}e}") for cost in cell[settings.cost]]
        table.loc[cell.index, "front"] = pareto_front(rounded, direction * cell[settings.metric])
    return table


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """Which points ``[n]`` no other point dominates: none is as cheap and as good, and better in one of the two.

    Equal points are on the front together; a point whose cost or quality is NaN is not on it.
    """
    cost, quality = np.asarray(cost, dtype=float), np.asarray(quality, dtype=float)
    as_good = (cost[:, None] <= cost) & (quality[:, None] >= quality)
    better = (cost[:, None] < cost) | (quality[:, None] > quality)
    known = ~(np.isnan(cost) | np.isnan(quality))
    return known & ~(as_good & better).any(axis=0)


def _cells(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows that compete with each other, and what to call them."""
    several = table["protocol"].nunique() > 1
    groups = table.groupby(["dataset", "protocol"], sort=False)
    return [(f"{dataset}, {protocol}" if several else str(dataset), cell) for (dataset, protocol), cell in groups]


def _sentence(table: pd.DataFrame, settings: Settings, direction: int) -> str:
    parts = []
    for name, cell in _cells(table.dropna(subset=[settings.cost, settings.metric])):
        best = cell.loc[(direction * cell[settings.metric]).idxmax()]
        dearest = cell.loc[cell[settings.cost].idxmax()]
        part = f"{name}: best is {_point(best, settings)}"
        if best[settings.cost] == 0 < dearest[settings.cost]:
            part += f"; the dearest is {_point(dearest, settings)}"
        elif dearest[settings.cost] > 0 and (times := dearest[settings.cost] / best[settings.cost]) >= WORTH_TELLING:
            part += f"; the dearest, {_point(dearest, settings)}, costs {times:.3g} times that"
        parts.append(part)
    return f"Test {metric_title(settings.metric)} against {COSTS[settings.cost][0]}. {'. '.join(parts)}."


def _point(row: Any, settings: Settings) -> str:
    cost = f"{row[settings.cost]:{COSTS[settings.cost][1]}}"
    return f"{row['model']}, {row['variant']} ({row[settings.metric]:.4f} at {cost})"


def _markdown(table: pd.DataFrame, settings: Settings, devices: Sequence[str]) -> str:
    lines = [
        "Means over seeds of the trial that the search chose. Seconds to the best epoch are those of training and "
        "validation; encoding the items and tuning the language model come before and are not in them. A millisecond "
        "per user is one evaluation divided by its users. FLOPs are RecBole's count for a fresh model's first score of "
        "one user and item; RECFORMER encodes all items for it. Times are of the runs' own machines "
        f"({'; '.join(devices)}) and vary from run to run; costs that are equal to "
        f"{settings.significant_digits} significant digits count as equal for the front.",
        "",
        *(
            f"- {name}, on the front: "
            + ", ".join(_point(row, settings) for _, row in cell[cell["front"]].sort_values(settings.cost).iterrows())
            for name, cell in _cells(table)
        ),
        "",
        f"| dataset | model | initialisation | protocol | seeds | {metric_title(settings.metric)} | "
        + " | ".join(title for title, _ in COSTS.values())
        + " | on the front |",
        "| --- | --- | --- | --- | ---: | ---: |" + " ---: |" * len(COSTS) + " :---: |",
    ]
    for row in table.sort_values(["dataset", "protocol", settings.cost], kind="stable").to_dict("records"):
        spread = row[std_of(settings.metric)]
        cells = [str(row[key]) for key in (*KEYS, "n_seeds")]
        cells.append(f"{row[settings.metric]:.4f}" + ("" if np.isnan(spread) else f" ± {spread:.4f}"))
        cells += ["–" if np.isnan(row[cost]) else f"{row[cost]:{style}}" for cost, (_, style) in COSTS.items()]
        lines.append("| " + " | ".join([*cells, "●" if row["front"] else ""]) + " |")
    return "\n".join(lines) + "\n"


def _figure(table: pd.DataFrame, settings: Settings) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cells = _cells(table)
    # A model has its marker, a variant its colour; where colours come round again, its fill tells it apart.
    shapes, shades = Looks.of(sorted(table["model"])), Looks.of(sorted(table["variant"]))
    columns = min(len(cells), COLUMNS)
    rows = -(-len(cells) // columns)
    figure = Figure(figsize=(max(5 * columns, 7), 4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(cells) :]:
        axis.remove()
    for axis, (name, cell) in zip(axes.flat, cells, strict=False):
        front = cell[cell["front"]].sort_values(settings.cost)
        axis.step(front[settings.cost], front[settings.metric], where="post", color="grey", linewidth=1, zorder=1)
        for row in cell.to_dict("records"):
            x, y, spread = row[settings.cost], row[settings.metric], np.nan_to_num(row[f"{settings.metric}_std"])
            shade = shades[row["variant"]]
            axis.errorbar(x, y, yerr=spread, color=shade.colour, elinewidth=0.7, zorder=2)
            style = _marker(shade) | {"markeredgecolor": "black"} if row["front"] else _marker(shade)
            axis.plot(x, y, shapes[row["model"]].marker, markersize=8, zorder=3, **style)
        axis.set(title=name, xlabel=COSTS[settings.cost][0])
        _scale(axis, cell[settings.cost])
    for axis in axes[:, 0]:
        axis.set_ylabel(f"test {metric_title(settings.metric)}")
    empty: dict[str, Any] = {"xdata": [], "ydata": [], "linestyle": "none"}
    models = [Line2D(**empty, color="grey", marker=shapes[name].marker, label=name) for name in shapes.names]
    variants = [Line2D(**empty, marker="s", label=name, **_marker(shades[name])) for name in shades.names]
    front_line = Line2D([], [], color="grey", markeredgecolor="black", marker="o", label="Pareto front")
    figure.legend(handles=[*models, *variants, front_line], loc="outside lower center", ncols=6, fontsize="small")
    return figure


def _scale(axis: Any, costs: pd.Series) -> None:
    """By powers of ten where costs are so far apart; zero, which has no logarithm, stands left of the lowest one."""
    lowest = costs[costs > 0].min()
    if not costs.max() > 10 * lowest:
        return
    if (costs == 0).any():
        axis.set_xscale("symlog", linthresh=lowest)
    else:
        axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")


def _marker(look: Look) -> dict[str, Any]:
    """How a marker of this look is drawn: whole, or half where the colour comes round again."""
    fill = "full" if look.line == "-" else "left" if look.line == "--" else "bottom"
    return {"color": look.colour, "fillstyle": fill, "markeredgecolor": look.colour}
