"""The figures of a benchmark: final quality as bars, and validation quality epoch by epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_ext.report.cells import metric_title
from recbole_ext.report.leaderboard import headline_metrics
from recbole_ext.report.records import GROUP_KEYS, WITHOUT_NONE, Record, grouped, validation_metric
from recbole_ext.writing import write_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
_NONE_COLOUR = "#8c8c8c"
# Okabe and Ito's colours, told apart by colour-blind readers; markers say the same again in the curves, and
# hatches tell apart bars once the colours come round again
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_HATCHES = ("", "///", "...", "xxx")
_BAR_INCHES = 0.21  # thick enough for a number beside it
_INK = "#24292f"
_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#afb8c1",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "grid.linewidth": 0.8,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
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


def draw_figures(table: pd.DataFrame, records: Sequence[Record], folder: Path) -> list[Drawing]:
    """Write the figures of a leaderboard table and of the records behind it as PNG files into ``folder``.

    One of bars for the whole benchmark, one of validation curves per dataset and protocol, of the models that train
    for more than one epoch. The same input gives the same bytes.
    """
    looks = _Looks(table)
    drawings = [_draw_bars(table, looks, folder)]
    curves: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if len(_curve(record)) > 1:
            curves.setdefault((record["dataset"], record["protocol"]), []).append(record)
    drawings += [_draw_curves(curves[key], looks, folder) for key in sorted(curves)]
    return drawings


class _Looks:
    """Every initialisation keeps its colour, marker and hatch in all figures, whatever a model makes of it."""

    def __init__(self, table: pd.DataFrame) -> None:
        kinds = table[["init", "mode"]].drop_duplicates().sort_values(["init", "mode"])
        several_modes = kinds[~kinds["mode"].isin(WITHOUT_NONE)]["init"].value_counts() > 1
        self._labels = {
            (init, mode): f"{init} ({mode})" if several_modes.get(init) and mode not in WITHOUT_NONE else init
            for init, mode in kinds.itertuples(index=False)
        }
        learnt = list(dict.fromkeys(label for (init, _), label in self._labels.items() if init != "none"))
        none = list(dict.fromkeys(label for (init, _), label in self._labels.items() if init == "none"))
        self.order = none + learnt
        self._position = {label: i for i, label in enumerate(learnt)}

    def label(self, init: str, mode: str) -> str:
        return self._labels[init, mode]

    def colour(self, label: str) -> str:
        position = self._position.get(label)
        return _NONE_COLOUR if position is None else _COLOURS[position % len(_COLOURS)]

    def marker(self, label: str) -> str:
        return _MARKERS[(self._position.get(label, -1) + 1) % len(_MARKERS)]

    def hatch(self, label: str) -> str:
        return _HATCHES[self._position.get(label, 0) // len(_COLOURS) % len(_HATCHES)]


def _draw_bars(table: pd.DataFrame, looks: _Looks, folder: Path) -> Drawing:
    metric = headline_metrics(table)[0]
    families = [family for _, family in table.groupby(["dataset", "protocol"])]
    most = max(len(family) for family in families)
    title = f"Test {metric_title(metric)} by model and initialisation"
    path = folder / f"{metric.replace('@', '_at_')}.png"
    with _figure(path, title, len(families), (5.6, 1.1 + _BAR_INCHES * most), 2) as (figure, axes):
        for ax, family in zip(axes, families, strict=True):
            _bars(ax, family.sort_values(metric, ascending=False, kind="stable"), metric, looks)
            ax.set_ylim(most - 0.4, -0.6)  # bars are as thick in all panels
            dataset, protocol = family[["dataset", "protocol"]].iloc[0]
            ax.set_title(dataset if table["protocol"].nunique() == 1 else f"{dataset}, {protocol} ranking")
            ax.set_xlabel(f"test {metric_title(metric)}")
            ax.set_ylabel("model, initialisation")
        _legend(figure, axes, "bar: mean over seeds    whisker: ± one standard deviation")
    datasets = ", ".join(dict.fromkeys(table["dataset"]))
    shown = f"Bars with error bars for {datasets}, the best on top; the leaderboard holds the numbers."
    return Drawing(path, title, shown)


def _bars(ax: Axes, family: pd.DataFrame, metric: str, looks: _Looks) -> None:
    """One bar for every row, from top to bottom."""
    labels = [looks.label(init, mode) for init, mode in family[["init", "mode"]].itertuples(index=False)]
    family = family.assign(label=labels, place=range(len(family)))
    for label in [label for label in looks.order if label in labels]:
        bars = family[family["label"] == label]
        drawn = ax.barh(
            bars["place"],
            bars[metric],
            0.78,
            xerr=bars[f"{metric}_std"],
            label=label,
            color=looks.colour(label),
            hatch=looks.hatch(label),
            edgecolor="white",
            linewidth=0,
            error_kw={"ecolor": _INK, "elinewidth": 1.0, "capsize": 2, "capthick": 1.0},
        )
        ax.bar_label(drawn, fmt="%.4f", padding=4, fontsize=7.5)
    names = [f"{model}, {label}" for model, label in zip(family["model"], labels, strict=True)]
    ax.set_yticks(range(len(family)), names, fontsize=8)
    ax.set_xlim(0, 1.18 * float((family[metric] + family[f"{metric}_std"].fillna(0.0)).max()) or 1.0)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _draw_curves(records: Sequence[Record], looks: _Looks, folder: Path) -> Drawing:
    dataset, protocol = records[0]["dataset"], records[0]["protocol"]
    models = sorted({record["model"] for record in records})
    title = f"Validation quality by epoch on {dataset}, {protocol} ranking"
    path = folder / f"validation_{_file_name(dataset)}_{_file_name(protocol)}.png"
    columns = 2 if len(models) == 4 else 3
    with _figure(path, title, len(models), (4.2, 3.3), columns) as (figure, axes):
        for ax, model in zip(axes, models, strict=True):
            for group, members in grouped(r for r in records if r["model"] == model).items():
                of = dict(zip(GROUP_KEYS, group, strict=True))
                _curves(ax, members, looks.label(of["init"], of["mode"]), looks)
            ax.set_title(model)
            ax.set_xlabel("epoch")
            metrics = {metric_title(validation_metric(r)) for r in records if r["model"] == model}
            ax.set_ylabel(f"validation {' / '.join(sorted(metrics))}")
        _legend(figure, axes, "thin: one seed    thick: mean while all train    marker: a seed's best epoch")
    shown = f"One panel for each of {', '.join(models)}, one line for each initialisation."
    return Drawing(path, title, shown)


def _curves(ax: Axes, records: Sequence[Record], label: str, looks: _Looks) -> None:
    colour = looks.colour(label)
    marker: dict[str, Any] = {"marker": looks.marker(label), "markeredgecolor": "white"}
    seeds = {record["seed"]: _curve(record) for record in records}
    for record in records:
        curve, best = seeds[record["seed"]], record.get("best_epoch", -1)
        ax.plot(curve.index, curve, color=colour, linewidth=0.8, alpha=0.55)
        if best in curve.index:
            ax.plot(best, curve[best], color=colour, linestyle="none", zorder=4, **marker)
    # past a seed's early stop the mean would jump to the mean of the others
    mean = pd.DataFrame(seeds).dropna().mean(axis=1)
    ax.plot(mean.index, mean, color=colour, linewidth=2.2)
    ax.plot([], [], color=colour, linewidth=2.2, label=label, **marker)


def _curve(record: Record) -> pd.Series:
    points = {p["epoch"]: p["valid"] for p in record.get("curve") or [] if p.get("valid") is not None}
    return pd.Series(points, dtype=float).sort_index()


@contextmanager
def _figure(
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
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for ax in axes[panels:]:
            ax.set_axis_off()
        yield figure, axes[:panels]
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
