"""``study cold-start``: test users by how often their test item was seen in training, down to never."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from recbole_ext.report.looks import Looks
from recbole_ext.report.metrics import metric_title
from recbole_ext.settings import CheckedSettings
from recbole_ext.studies.interaction_bins import bin_names, by_interactions
from recbole_ext.studies.written import Findings

log = logging.getLogger(__name__)

_TEXT = (
    "Test users by the training interactions of their test item; mean over users, then over seeds, in brackets the "
    "change over the row's own baseline. Marked ● are the runs that score an item from its store "
    "vector or its text alone (modes `frozen`, `adapter`, `bounded` and `dual`, RECFORMER, UniSRec, WhitenRec, ZESRec, "
    "and what trains nothing: NearestNeighbour, TransitionGraph with vectors; BERT4Rec adds a trained bias of each "
    "item): what training learns there is shared by all items, so the column of items never seen in training shows how "
    "vectors rank that no training has touched. Elsewhere it has moved their vectors too, as negatives. Random order: "
    "all items ranked at random."
)


class Settings(CheckedSettings):
    """Which benchmarks, and the bins."""

    results: list[Path] = Field(min_length=1)
    """Benchmarks' folders, such as ``runs/NAME``, whose run records are read."""
    metrics: list[str] = Field(default=["ndcg@10", "recall@10"], min_length=1)
    """The first is the figure's and the sentence's."""
    edges: list[int] = Field(default=[0, 5, 20], min_length=1)
    """The largest number of training interactions of each bin but the last."""

    @field_validator("edges")
    @classmethod
    def _ascend(cls, edges: list[int]) -> list[int]:
        if edges[0] < 0 or any(low >= high for low, high in zip(edges, edges[1:], strict=False)):
            raise ValueError("should ascend from 0 or more, as in [0, 5, 20]")
        return edges


def run(settings: Settings, command: str) -> Findings:
    """Read records, ranks and popularity, and compare the bins.

    Raises:
        ConfigurationError: no run has kept what is needed; says what, and what makes it.
    """
    table, notes = by_interactions(settings.results, settings.metrics, settings.edges)
    for note in notes:
        log.warning(note)
    return Findings(
        title="Items that training has hardly seen",
        sentence=_sentence(table, settings),
        table=table,
        notes=notes,
        text=_markdown(table, settings, notes),
        figures={"cold-start": _figure(table, settings)},
    )


def _cells(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of the same test users, and what to call them."""
    several = {key: table.groupby("dataset")[key].nunique().max() > 1 for key in ("protocol", "split")}
    cells = []
    for (dataset, protocol, split), cell in table.groupby(["dataset", "protocol", "split"], sort=False):
        name = str(dataset) + (f", {protocol}" if several["protocol"] else "")
        cells.append((name + (f", split {str(split)[:8]}" if several["split"] else ""), cell))
    return cells


def _named(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The run groups of a cell, each with its bins, and what to call them: by their benchmark too after the first."""
    usual = table["results"].iloc[0]
    groups = table.groupby(["results", "model", "variant"], sort=False)
    return [
        (f"{model}, {variant}" + ("" if results == usual else f", {results}"), group)
        for (results, model, variant), group in groups
    ]


def _sentence(table: pd.DataFrame, settings: Settings) -> str:
    metric = settings.metrics[0]
    parts = []
    for name, cell in _cells(table):
        unseen = _unseen(cell)
        from_store, others = unseen[unseen["from_store"]], unseen[~unseen["from_store"]]
        if len(from_store):
            told = f"{name} ({unseen['n_users'].iloc[0]:,} users): {_best(from_store, metric)} from the store alone"
            told += f", {_best(others, metric)} otherwise" if len(others) else ""
            random = unseen[f"{metric}_random"].iloc[0]
            parts.append(told + ("" if math.isnan(random) else f", {random:.4f} in random order"))
    title = f"Test {metric_title(metric)} of items never seen in training, at best"
    return f"{title}. {'. '.join(parts)}." if parts else f"{title}: no run here scores any from its store alone."


def _unseen(cell: pd.DataFrame) -> pd.DataFrame:
    return cell[(cell["bin"] == "0") & (cell["n_users"] > 0)]


def _best(rows: pd.DataFrame, metric: str) -> str:
    row = max(rows.to_dict("records"), key=lambda row: row[metric])
    return f"{row[metric]:.4f} ({row['model']}, {row['variant']})"


def _told(cell: pd.DataFrame, settings: Settings) -> str:
    """What a table's bins say, in words."""
    metric, unseen = settings.metrics[0], _unseen(cell)
    told = []
    if len(unseen):
        n_users = sum(cell.groupby("bin")["n_users"].first())
        told.append(f"{unseen['n_users'].iloc[0]:,} of {n_users:,} test users have an item never seen in training")
        kinds = {
            "scored from the store alone": unseen[unseen["from_store"]],
            "with vectors that training moved": unseen[~unseen["from_store"] & unseen["learns"] & ~unseen["is_random"]],
            "with random vectors": unseen[unseen["is_random"]],
            "without vectors or training": unseen[~unseen["from_store"] & ~unseen["learns"]],
        }
        told += [f"{kind} they reach {_best(rows, metric)} at best" for kind, rows in kinds.items() if len(rows)]
        if not math.isnan(unseen[f"{metric}_random"].iloc[0]):
            told.append(f"random order {unseen[f'{metric}_random'].iloc[0]:.4f}")
    else:
        told.append("every test item was seen in training" if settings.edges[0] == 0 else "no bin of unseen items")
    gains = cell[(cell["bin"] != "0") & cell[f"{metric}_change_%"].notna()]
    if len(gains):
        row = max(gains.to_dict("records"), key=lambda row: row[f"{metric}_change_%"])
        told.append(
            f"among seen ones the largest change over a baseline is {row[f'{metric}_change_%']:+.1f} %, of "
            f"{row['model']}, {row['variant']} at {row['bin']} interactions"
        )
    return "; ".join(told)


def _markdown(table: pd.DataFrame, settings: Settings, notes: Sequence[str]) -> str:
    lines = [_TEXT, *(f"\nNote: {note}" for note in notes)]
    for name, cell in _cells(table):
        n_users = cell.groupby("bin")["n_users"].first()
        lines.append(f"\n{name}: {_told(cell, settings)}.")
        for metric in settings.metrics:
            lines += [
                f"\n{name}, test {metric_title(metric)}:\n",
                "| run | from the store | seeds | "
                + " | ".join(f"{label} ({n_users[label]:,} users)" for label in bin_names(settings.edges))
                + " |",
                "| --- | :---: | ---: |" + " ---: |" * len(bin_names(settings.edges)),
            ]
            random = cell[f"{metric}_random"].iloc[0]
            if not math.isnan(random):
                lines.append("| random order | | |" + f" {random:.4f} |" * len(bin_names(settings.edges)))
            for label, group in _named(cell):
                cells = [_shown(row, metric) for row in group.to_dict("records")]
                mark = "●" if group["from_store"].iloc[0] else ""
                lines.append(f"| {label} | {mark} | {group['n_seeds'].iloc[0]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(row: dict[Any, Any], metric: str) -> str:
    if math.isnan(row[metric]):
        return "–"
    change = row[f"{metric}_change_%"]
    return f"{row[metric]:.4f}" + ("" if math.isnan(change) else f" ({change:+.1f} %)")


def _figure(table: pd.DataFrame, settings: Settings) -> Any:
    from matplotlib.figure import Figure

    metric, cells = settings.metrics[0], _cells(table)
    baselines = {name for _, cell in cells for name, group in _named(cell) if group["is_random"].iloc[0]}
    looks = Looks.of((name for _, cell in cells for name, _ in _named(cell)), baselines)
    place = np.arange(len(bin_names(settings.edges)))
    figure = Figure(figsize=(10, 1 + 3.4 * len(cells)), layout="constrained")
    axes = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    for axis, (name, cell) in zip(axes, cells, strict=True):
        groups = _named(cell)
        for number, (label, group) in enumerate(groups):
            look, x = looks[label], place + 0.5 * ((number + 0.5) / len(groups) - 0.5)
            axis.errorbar(
                x,
                group[metric],
                yerr=group[f"{metric}_std"],
                color=look.colour,
                marker=look.marker,
                markerfacecolor=look.colour if group["from_store"].iloc[0] else "white",
                linestyle=look.line,
                linewidth=0.8,
                label=label,
            )
        n_users = cell.groupby("bin")["n_users"].first()
        axis.set(title=name, ylabel=f"test {metric_title(metric)}", xticks=place)
        axis.set_xticklabels(f"{label}\n{n_users[label]:,} users" for label in bin_names(settings.edges))
    axes[-1].set_xlabel("training interactions of the test item (filled: scored from the store alone)")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize="small")
    return figure
