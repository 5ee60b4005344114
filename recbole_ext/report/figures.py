"""The figures of a benchmark: quality as bars, gains over the baselines, and validation quality epoch by epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_ext.records import RunRecord, is_control
from recbole_ext.report.boards import board_title
from recbole_ext.report.leaderboard import (
    Leaderboard,
    direction_of,
    ends_of,
    improvement_of,
    lines_of,
    mark_of,
    std_of,
)
from recbole_ext.report.looks import INK, Looks
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.results import Result
from recbole_ext.writing import write_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
MOST_BARS = 40
"""In a panel; of more rows the best, so that the figure stays one that can be read."""
_BAR_INCHES = 0.21  # thick enough for a number beside it
_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#afb8c1",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
}


@dataclass(frozen=True)
class Drawing:
    """A figure on disk, and what it shows in words for those who don't see it."""

    path: Path
    title: str
    description: str


def draw_figures(board: Leaderboard, folder: Path) -> list[Drawing]:
    """Write the figures of a leaderboard as PNG files into ``folder``; those of an earlier report there go.

    One of bars for the whole benchmark, one of gains where any was tested, one of validation curves per dataset and
    protocol, of the models that train for more than one epoch. The same input gives the same bytes.
    """
    results = [result for result in board.results.values() if result.runs]
    looks = Looks.of(
        (result.key.variant for result in results),
        {result.key.variant for result in board.baselines.values()},
        {result.key.variant: result.row.kind for result in results},
    )
    drawings = [_draw_bars(board, looks, folder)]
    if gains := _draw_gains(board, looks, folder):
        drawings.append(gains)
    curves: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if any(record.made and len(record.made.validations) > 1 for record in result.runs):
            curves.setdefault((result.key.dataset, result.key.protocol), []).append(result)
    drawings += [_draw_curves(of_family, looks, folder) for of_family in curves.values()]
    earlier = {path for pattern in ("*_at_*.png", "validation_*_*.png") for path in folder.glob(pattern)}
    for path in earlier - {drawing.path for drawing in drawings}:
        path.unlink()
    return drawings


def _draw_bars(board: Leaderboard, looks: Looks, folder: Path) -> Drawing:
    metric = board.headline[0]
    table = board.table[(board.table["source"] == "") & board.table[metric].notna()]
    families = [family.head(MOST_BARS) for _, family in table.groupby(["dataset", "protocol"], sort=False)]
    most = max(len(family) for family in families)
    title = f"Test {metric_title(metric)} by model and initialisation"
    path = folder / f"{metric.replace('@', '_at_')}.png"
    with drawn_figure(path, title, len(families), (5.6, 1.1 + _BAR_INCHES * most), 2) as (figure, axes):
        for ax, family in zip(axes, families, strict=True):
            _bars(ax, family, metric, looks)
            ax.set_ylim(most - 0.4, -0.6)  # bars are as thick in all panels
            dataset, protocol = family[["dataset", "protocol"]].iloc[0]
            ax.set_title(dataset if table["protocol"].nunique() == 1 else board_title(dataset, protocol))
            ax.set_xlabel(f"test {metric_title(metric)}")
            ax.set_ylabel("model, initialisation")
        _legend(figure, axes, "bar: mean over seeds    whisker: ± one standard deviation")
    datasets = ", ".join(dict.fromkeys(table["dataset"]))
    cut = f" of each the best {MOST_BARS};" if any(len(family) == MOST_BARS for family in families) else ""
    shown = f"Bars with error bars for {datasets}, the best on top;{cut} the leaderboard holds the numbers."
    return Drawing(path, title, shown)


def _bars(ax: Axes, family: pd.DataFrame, metric: str, looks: Looks) -> None:
    """One bar for every row, from top to bottom."""
    family = family.assign(place=range(len(family)))
    for variant, bars in family.groupby("variant", sort=False):
        look = looks[str(variant)]
        drawn = ax.barh(
            bars["place"],
            bars[metric],
            0.78,
            xerr=bars[std_of(metric)],
            label=str(variant),
            color=look.colour,
            hatch=look.hatch,
            edgecolor="white",
            linewidth=0,
            error_kw={"ecolor": INK, "elinewidth": 1.0, "capsize": 2, "capthick": 1.0},
        )
        ax.bar_label(drawn, fmt="%.4f", padding=4, fontsize=7.5)
    names = [f"{model}, {variant}" for model, variant in zip(family["model"], family["variant"], strict=True)]
    ax.set_yticks(range(len(family)), names, fontsize=8)
    ax.set_xlim(0, 1.18 * float((family[metric] + family[std_of(metric)].fillna(0.0)).max()) or 1.0)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _draw_gains(board: Leaderboard, looks: Looks, folder: Path) -> Drawing | None:
    """Each tested row's gain over its baseline with its interval, the best first, controls below."""
    metric = board.compared[0]
    low, high = ends_of(metric)
    tested = board.table[board.table[[low, high]].abs().lt(math.inf).all(axis=1)]
    if tested.empty:
        return None
    direction = direction_of(board.results.values(), metric)
    tested = tested.assign(control=tested["vectors"].map(is_control), worst=-direction * tested[improvement_of(metric)])
    whole = [family for _, family in tested.groupby(["dataset", "protocol"], sort=False)]
    families = [family.nsmallest(MOST_BARS, "worst").sort_values(["control", "worst"]) for family in whole]
    most = max(len(family) for family in families)
    ends = (min(0.0, tested[low].min()), max(0.0, tested[high].max()))
    title = f"Test {metric_title(metric)}, gain over the row's own baseline"
    path = folder / f"gains_{metric.replace('@', '_at_')}.png"
    with drawn_figure(path, title, len(families), (5.6, 1.1 + _BAR_INCHES * most), 2) as (figure, axes):
        for ax, family in zip(axes, families, strict=True):
            _gains(ax, family, metric, looks)
            ax.set_ylim(most - 0.4, -0.6)
            margin = 0.05 * (ends[1] - ends[0]) or 1.0
            ax.set_xlim(ends[0] - margin, ends[1] + margin)  # gains are as long in all panels
            dataset, protocol = family[["dataset", "protocol"]].iloc[0]
            ax.set_title(dataset if tested["protocol"].nunique() == 1 else board_title(dataset, protocol))
            ax.set_xlabel(f"gain in test {metric_title(metric)}, %")
            ax.set_ylabel("model, initialisation")
        _legend(
            figure, axes, "marker: mean gain, hollow where none is shown    line: 95 % interval over users and seeds"
        )
    datasets = ", ".join(dict.fromkeys(tested["dataset"]))
    cut = f", of each the largest {MOST_BARS}" if any(len(family) > MOST_BARS for family in whole) else ""
    shown = f"Gains with 95 % intervals over users and seeds for {datasets}{cut}, the largest on top, controls below; "
    shown += "the leaderboard holds the numbers."
    return Drawing(path, title, shown)


def _gains(ax: Axes, family: pd.DataFrame, metric: str, looks: Looks) -> None:
    """One interval for every row, from top to bottom."""
    family = family.assign(place=range(len(family)))
    ax.axvline(0, color=INK, linewidth=1.0)
    for variant, rows in family.groupby("variant", sort=False):
        look = looks[str(variant)]
        ax.hlines(rows["place"], *(rows[end] for end in ends_of(metric)), color=look.colour, linewidth=1.8)
        style: dict[str, Any] = {"marker": look.marker, "color": look.colour, "linestyle": "none", "markersize": 6}
        ax.plot([], [], label=str(variant), **style)
        for row in lines_of(rows):
            shown = row[mark_of(metric)] != "tie"
            ax.plot(
                row[improvement_of(metric)], row["place"], **style, markerfacecolor=look.colour if shown else "white"
            )
    names = [f"{model}, {variant}" for model, variant in zip(family["model"], family["variant"], strict=True)]
    ax.set_yticks(range(len(family)), names, fontsize=8)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _draw_curves(results: Sequence[Result], looks: Looks, folder: Path) -> Drawing:
    key = results[0].key
    models = list(dict.fromkeys(result.key.model for result in results))
    title = f"Validation quality by epoch on {board_title(key.dataset, key.protocol)}"
    path = folder / f"validation_{_file_name(key.dataset)}_{_file_name(key.protocol)}.png"
    columns = 2 if len(models) == 4 else 3
    with drawn_figure(path, title, len(models), (4.2, 3.3), columns) as (figure, axes):
        for ax, model in zip(axes, models, strict=True):
            of_model = [result for result in results if result.key.model == model]
            for result in of_model:
                _curves(ax, result.runs, result.key.variant, looks)
            ax.set_title(model)
            ax.set_xlabel("epoch")
            metrics = {metric_title(record.done.valid_metric) for result in of_model for record in result.runs}
            ax.set_ylabel(f"validation {' / '.join(sorted(metrics))}")
        _legend(figure, axes, "thin: one seed    thick: mean while all train    marker: a seed's best epoch")
    shown = f"One panel for each of {', '.join(models)}, one line for each initialisation."
    return Drawing(path, title, shown)


def _curves(ax: Axes, records: Sequence[RunRecord], variant: str, looks: Looks) -> None:
    look = looks[variant]
    marker: dict[str, Any] = {"marker": look.marker, "markeredgecolor": "white"}
    seeds = {record.seed: _by_epoch(record) for record in records}
    for record in records:
        curve, best = seeds[record.seed], record.done.best_epoch + 1
        ax.plot(curve.index, curve, color=look.colour, linestyle=look.line, linewidth=0.8, alpha=0.55)
        if best in curve.index:
            ax.plot(best, curve[best], color=look.colour, linestyle="none", zorder=4, **marker)
    # past a seed's early stop the mean would jump to the mean of the others
    mean = pd.DataFrame(seeds).dropna().mean(axis=1)
    ax.plot(mean.index, mean, color=look.colour, linestyle=look.line, linewidth=2.2)
    ax.plot([], [], color=look.colour, linestyle=look.line, linewidth=2.2, label=variant, **marker)


def _by_epoch(record: RunRecord) -> pd.Series[float]:
    """Validation by epoch, the first of which is 1, as in the tables."""
    return pd.Series({epoch + 1: valid for epoch, valid in record.done.validations.items()}, dtype=float).sort_index()


@contextmanager
def drawn_figure(
    path: Path, title: str, panels: int, panel_size: tuple[float, float], columns: int
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with that many panels, written to ``path`` at the end. No pyplot: no global state to leak."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, panels)
    rows = math.ceil(panels / columns)
    style: Any = {**matplotlib.rcParamsDefault, "backend": "Agg", **_STYLE}  # whatever the user's own is
    with matplotlib.rc_context(style):
        width, height = max(panel_size[0] * columns, 6.0), panel_size[1] * rows + 1.0
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
        figure.suptitle(title, x=0.15 / width, ha="left")
        grid = figure.add_gridspec(rows, columns)
        axes = [figure.add_subplot(grid[panel // columns, panel % columns]) for panel in range(panels)]
        yield figure, axes
        write_png(path, figure, DOTS_PER_INCH)


def _legend(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(),
        handles.keys(),
        title=title,
        title_fontproperties={"size": 8.5},
        loc="outside lower center",
        ncols=min(5, len(handles)),
    )


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)
