"""Tables as a reader sees them: numbers put in words once, for the terminal, Markdown and HTML alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from recbole_ext.records import RowKey, RunRecord
from recbole_ext.report.leaderboard import (
    KEYS,
    Leaderboard,
    direction_of,
    ends_of,
    improvement_of,
    key_of,
    lines_of,
    mark_of,
    p_of,
    places,
    std_of,
)
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.results import Result

NOTHING = "–"
_COSTS = {"parameters": "Parameters", "seconds_training": "Training, s"}
MARKS = {"better": "▲ better", "worse": "▼ worse", "tie": "○ none shown"}
TITLES = {"dataset": "Dataset", "model": "Model", "variant": "Initialisation", "protocol": "Protocol"}
TITLES |= {"suite": "Suite", "kind": "Kind", "name": "Vectors"}


@dataclass(frozen=True)
class Cell:
    """``text`` and ``spread`` ("± 0.0004") are shown; ``value`` is what the page sorts by (None: at the end).

    ``place`` is 1 for the best, 2 for the second best; ``tone`` better or worse where that was shown; ``deviation`` is
    the number in ``spread``; ``below`` and ``remark``: more about it, in small print; ``link``: where it leads.
    """

    text: str
    value: float | str | None = None
    spread: str = ""
    place: int = 0
    tone: str = ""
    deviation: float | None = None
    below: str = ""
    remark: str = ""
    link: str = ""


@dataclass(frozen=True)
class Column:
    """``name`` as in leaderboard.csv, ``title`` for people.

    ``spread``: its cells have a deviation; ``change``: they are changes in percent, with their interval as spread,
    which the page draws as bars; ``of_baseline``: its numbers came from the baseline's runs too.
    """

    name: str
    title: str
    numeric: bool = True
    spread: bool = False
    change: bool = False
    of_baseline: bool = False


@dataclass(frozen=True)
class Row:
    """``runs``: the records that its numbers are taken from."""

    cells: list[Cell]
    runs: list[RunRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Sheet:
    columns: list[Column]
    rows: list[Row]

    def cells(self, column: Column) -> list[Cell]:
        """A column's cells from top to bottom."""
        position = self.columns.index(column)
        return [row.cells[position] for row in self.rows]

    def split(self, *names: str) -> dict[tuple[str, ...], Sheet]:
        """A sheet without these columns for each combination of their texts, in the order of their first rows."""
        taken = [[column.name for column in self.columns].index(name) for name in names]
        kept = [position for position in range(len(self.columns)) if position not in taken]
        sheets: dict[tuple[str, ...], Sheet] = {}
        for row in self.rows:
            key = tuple(row.cells[position].text for position in taken)
            sheet = sheets.setdefault(key, Sheet([self.columns[position] for position in kept], []))
            sheet.rows.append(replace(row, cells=[row.cells[position] for position in kept]))
        return sheets

    def without(self, *names: str) -> Sheet:
        """The sheet without these columns."""
        kept = [position for position, column in enumerate(self.columns) if column.name not in names]
        rows = [replace(row, cells=[row.cells[position] for position in kept]) for row in self.rows]
        return Sheet([self.columns[position] for position in kept], rows)

    def lines(self) -> list[str]:
        """The sheet as aligned lines of plain text, a header first."""
        texts = [[f"{cell.text} {cell.spread}".strip() for cell in row.cells] for row in self.rows]
        header = [column.title for column in self.columns]
        widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
        pads = [str.rjust if column.numeric else str.ljust for column in self.columns]
        return [
            "  ".join(pad(text, width) for pad, text, width in zip(pads, line, widths, strict=True)).rstrip()
            for line in [header, ["-" * width for width in widths], *texts]
        ]


def leaderboard_sheet(board: Leaderboard, metrics: Sequence[str], compared: Sequence[str], costs: bool = True) -> Sheet:
    """The leaderboard with only these metrics and comparisons among its columns.

    Comparisons where no row has a baseline, and remarks where there are none, have no column.
    """
    table, compared = board.table, compared if board.baselines else []
    columns = [Column("rank", "#"), *key_columns(), Column("n_seeds", "Seeds")]
    columns += [Column(metric, metric_title(metric), spread=True) for metric in metrics]
    for metric in compared:
        title = metric_title(metric)
        columns += [
            Column(improvement_of(metric), f"{title} vs baseline", change=True, of_baseline=True),
            Column(p_of(metric), "p (Holm)", of_baseline=True),
            Column(mark_of(metric), "Mark", numeric=False),
        ]
    columns += [Column(name, title) for name, title in _COSTS.items()] if costs else []
    results = board.results.values()
    place = {metric: places(table, metric, direction_of(results, metric)) for metric in metrics}
    rows = []
    for position, line in enumerate(lines_of(table)):
        result = board.results.get(key_of(line)) if not line["source"] else None
        cells = [number_cell(line["rank"], 0), *_key_cells(line, result), number_cell(line["n_seeds"], 0)]
        cells += [_metric_cell(line[m], line[std_of(m)], place[m][position]) for m in metrics]
        for metric in compared:
            cells.append(_change_cell(line, metric))
            cells += [p_cell(line[p_of(metric)]), mark_cell(line[mark_of(metric)])]
        cells += [number_cell(line[name], 0) for name in _COSTS] if costs else []
        rows.append(Row(cells, result.runs or result.failed if result else []))
    if any(table["remarks"]):
        columns.append(Column("remarks", "Remarks", numeric=False))
        for row, line in zip(rows, lines_of(table), strict=True):
            row.cells.append(_remarks_cell(line))
    return Sheet(columns, rows)


def costs_sheet(costs: pd.DataFrame, results: Mapping[RowKey, Result]) -> Sheet:
    formats = {
        "parameters": ("Parameters", 0),
        "trainable": ("Trainable", 0),
        "item_embedding": ("Item embedding", 0),
        "seconds_per_epoch": ("Seconds per epoch", 2),
        "best_epoch": ("Best epoch", 1),
        "epochs_to_baseline": ("Epochs to the baseline's best", 1),
        "seconds_training": ("Seconds training", 1),
        "ms_per_user": ("ms / evaluated user", 3),
        "peak_memory_mb": ("Peak memory (MB)", 0),
    }
    columns = [*key_columns(), *(Column(name, title) for name, (title, _) in formats.items())]
    rows = []
    for line in lines_of(costs):
        result = results[key_of(line)]
        cells = [text_cell(line[key]) for key in KEYS]
        cells += [number_cell(line[name], decimals) for name, (_, decimals) in formats.items()]
        if 0 < line["seeds_to_baseline"] < len(result.runs):
            at = [column.name for column in columns].index("epochs_to_baseline")
            cells[at] = replace(cells[at], spread=f"({line['seeds_to_baseline']:.0f} of {len(result.runs)} seeds)")
        rows.append(Row(cells, result.runs))
    return Sheet(columns, rows)


def key_columns() -> list[Column]:
    return [Column(key, TITLES[key], numeric=False) for key in KEYS]


def plain_sheet(
    columns: Mapping[str, bool],
    rows: Iterable[tuple[Any, ...]],
    runs: Mapping[tuple[Any, ...], list[RunRecord]] | None = None,
) -> Sheet:
    """A sheet of titles (true: numbers below it) and values; whole numbers are grouped by thousands.

    ``runs``: the records that a row is taken from.
    """
    return Sheet(
        [Column(title, title, numeric) for title, numeric in columns.items()],
        [
            Row([number_cell(v, 0) if isinstance(v, int) else text_cell(v) for v in row], (runs or {}).get(row, []))
            for row in rows
        ],
    )


def text_cell(text: object) -> Cell:
    shown = "" if text is None else str(text)
    return Cell(shown or NOTHING, shown or None)


def number_cell(value: float | None, decimals: int) -> Cell:
    if value is None or math.isnan(value):
        return Cell(NOTHING)
    return Cell(f"{value:,.{decimals}f}", float(value))


def percent_cell(percent: float, low: float | None = None, high: float | None = None, mark: str = "") -> Cell:
    """A change, the ends of its interval if any, and the tone of its mark: a colour says that one was shown."""
    if math.isnan(percent):
        return Cell(NOTHING)
    spread = "" if low is None or high is None or math.isnan(low) else f"[{signed(low, 1)}, {signed(high, 1)}]"
    return Cell(f"{signed(percent, 1)} %", percent, spread, tone=mark if mark in ("better", "worse") else "")


def signed(number: float, decimals: int) -> str:
    """With its sign, a true minus, which is as wide as the plus; without one where it is rounded to zero."""
    if math.isinf(number):
        return "+∞" if number > 0 else "−∞"
    shown = f"{number:+.{decimals}f}"
    return shown.replace("-", "−") if float(shown) else shown[1:]


def p_cell(p: float | None) -> Cell:
    if p is None or math.isnan(p):
        return Cell(NOTHING)
    return Cell("<0.001" if p < 0.001 else f"{p:.3f}", p)


def mark_cell(mark: str) -> Cell:
    if not mark:
        return Cell(NOTHING)
    return Cell(MARKS[mark], mark, tone=mark if mark in ("better", "worse") else "")


def _key_cells(line: Mapping[str, Any], result: Result | None) -> list[Cell]:
    """The row's four names, its vectors and mode below that of the variant; of published numbers it says so."""
    cells = {key: text_cell(line[key]) for key in KEYS}
    if line["source"]:
        said, _, _ = line["remarks"].partition("; ")
        cells["variant"] = text_cell(f"{line['variant']} ({said})".strip())
    if result is not None:
        vectors = [result.row.vectors, "" if result.mode == "full" else result.mode]
        cells["variant"] = replace(cells["variant"], below=", ".join(filter(None, vectors)))
    return [cells[key] for key in KEYS]


def _metric_cell(mean: float, std: float, place: int) -> Cell:
    if math.isnan(mean):
        return Cell(NOTHING)
    if math.isnan(std):
        return Cell(f"{mean:.4f}", mean, place=place)
    return Cell(f"{mean:.4f}", mean, f"± {std:.4f}", place, deviation=std)


def _change_cell(line: Mapping[str, Any], metric: str) -> Cell:
    low, high = (line[end] for end in ends_of(metric))
    return percent_cell(line[improvement_of(metric)], low, high, line[mark_of(metric)])


def _remarks_cell(line: Mapping[str, Any]) -> Cell:
    cell = text_cell(line["remarks"])
    if not line["source"]:
        return cell
    link = re.search(r"https?://[^\s,;)]+", line["source"])
    source = line["source"].replace(link[0], "").strip(" ,;.()") if link else line["source"]
    address = link[0].rstrip(".") if link else ""
    said = "; ".join(filter(None, [source or address, *line["remarks"].split("; ")[1:]]))
    return replace(cell, text=said, link=address)
