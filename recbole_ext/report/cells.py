"""Tables as a reader sees them: numbers put in words once, for the terminal, Markdown and HTML alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from recbole_ext.report.leaderboard import improvements_of, metrics_of, places
from recbole_ext.report.records import GROUP_KEYS, Group, Record

NOTHING = "–"
MARKS = {"better": "▲", "worse": "▼", "tie": "≈", "mixed": "◇"}


@dataclass(frozen=True)
class Cell:
    """``text`` and ``spread`` ("± 0.0004") are shown; ``value`` is what the page sorts by (None: at the end).

    ``place`` is 1 for the best, 2 for the second best; ``tone`` better or worse where a sign means that;
    ``deviation`` is the number in ``spread``.
    """

    text: str
    value: float | str | None = None
    spread: str = ""
    place: int = 0
    tone: str = ""
    deviation: float | None = None


@dataclass(frozen=True)
class Column:
    """``name`` as in leaderboard.csv, ``title`` for people.

    ``spread``: its cells have one; ``change``: they are changes in percent, which the page draws as bars.
    """

    name: str
    title: str
    numeric: bool = True
    spread: bool = False
    change: bool = False


@dataclass(frozen=True)
class Row:
    cells: list[Cell]
    runs: list[Record] = field(default_factory=list)


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
            sheet.rows.append(Row([row.cells[position] for position in kept], row.runs))
        return sheets

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


def leaderboard_sheet(
    table: pd.DataFrame,
    runs: Mapping[Group, list[Record]],
    metrics: Sequence[str],
    improvements: Sequence[str],
) -> Sheet:
    """The leaderboard with only these metrics and improvements among its columns."""
    columns = [Column(key, key.capitalize(), numeric=False) for key in GROUP_KEYS] + [Column("n_seeds", "Seeds")]
    columns += [Column(metric, metric_title(metric), spread=True) for metric in metrics]
    columns += [Column(f"{m}_improvement_%", f"{metric_title(m)} vs none", change=True) for m in improvements]
    columns += [Column("p_holm", "p (Holm)"), Column("mark", "Mark", numeric=False)]
    place = {metric: places(table, metric) for metric in metrics}
    rows = []
    for position, row in enumerate(table.to_dict("records")):
        cells = [text_cell(row[key]) for key in GROUP_KEYS] + [number_cell(row["n_seeds"], 0)]
        cells += [_metric_cell(row[m], row[f"{m}_std"], place[m][position]) for m in metrics]
        cells += [percent_cell(row[f"{metric}_improvement_%"]) for metric in improvements]
        cells += [p_cell(row["p_holm"]), mark_cell(row["mark"])]
        rows.append(Row(cells, runs_of(row, runs)))
    return Sheet(columns, rows)


def full_leaderboard_sheet(table: pd.DataFrame, runs: Mapping[Group, list[Record]]) -> Sheet:
    """The leaderboard with all its columns."""
    return leaderboard_sheet(table, runs, metrics_of(table), improvements_of(table))


def costs_sheet(costs: pd.DataFrame, runs: Mapping[Group, list[Record]]) -> Sheet:
    columns = [Column(key, key.capitalize(), numeric=False) for key in GROUP_KEYS]
    formats = {
        "parameters": ("Parameters", 0),
        "trainable": ("Trainable", 0),
        "item_embedding": ("Item embedding", 0),
        "seconds_per_epoch": ("Seconds per epoch", 2),
        "best_epoch": ("Best epoch", 1),
        "epochs_to_none": ("Epochs to none's best", 1),
        "seconds_training": ("Seconds training", 1),
        "ms_per_user": ("ms / evaluated user", 3),
        "peak_memory_mb": ("Peak memory (MB)", 0),
    }
    columns += [Column(name, title) for name, (title, _) in formats.items()]
    rows = []
    for row in costs.to_dict("records"):
        cells = [text_cell(row[key]) for key in GROUP_KEYS]
        cells += [number_cell(row[name], decimals) for name, (_, decimals) in formats.items()]
        records = runs_of(row, runs)
        if 0 < row["seeds_to_none"] < len(records):
            at = [column.name for column in columns].index("epochs_to_none")
            cells[at] = replace(cells[at], spread=f"({row['seeds_to_none']} of {len(records)} seeds)")
        rows.append(Row(cells, records))
    return Sheet(columns, rows)


def plain_sheet(
    columns: Mapping[str, bool],
    rows: Iterable[tuple[Any, ...]],
    runs: Mapping[tuple[Any, ...], list[Record]] | None = None,
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


def metric_title(metric: str) -> str:
    """``ndcg@10`` as NDCG@10, ``recall@10`` as Recall@10."""
    family, at, cutoff = metric.partition("@")
    shown = {"recall": "Recall", "hit": "Hit", "precision": "Precision"}.get(family, family.upper())
    return f"{shown}{at}{cutoff}"


def text_cell(text: object) -> Cell:
    shown = "" if text is None else str(text)
    return Cell(shown or NOTHING, shown or None)


def number_cell(value: float | None, decimals: int) -> Cell:
    if value is None or math.isnan(value):
        return Cell(NOTHING)
    return Cell(f"{value:,.{decimals}f}", float(value))


def _metric_cell(mean: float, std: float, place: int) -> Cell:
    if math.isnan(mean):
        return Cell(NOTHING)
    if math.isnan(std):
        return Cell(f"{mean:.4f}", mean, place=place)
    return Cell(f"{mean:.4f}", mean, f"± {std:.4f}", place, deviation=std)


def percent_cell(percent: float, decimals: int = 1) -> Cell:
    if math.isnan(percent):
        return Cell(NOTHING)
    shown = f"{percent:+.{decimals}f} %".replace("-", "−")  # a true minus sign is as wide as the plus
    return Cell(shown, percent, tone="better" if percent > 0 else "worse" if percent < 0 else "")


def p_cell(p: float | None) -> Cell:
    if p is None or math.isnan(p):
        return Cell(NOTHING)
    return Cell("<0.001" if p < 0.001 else f"{p:.3f}", p)


def mark_cell(mark: str | None) -> Cell:
    if not mark:
        return Cell(NOTHING)
    return Cell(f"{MARKS[mark]} {mark}", mark, tone=mark if mark in ("better", "worse") else "")


def runs_of(row: Mapping[Any, Any], runs: Mapping[Group, list[Record]]) -> list[Record]:
    return runs.get((row["dataset"], row["model"], row["init"], row["mode"], row["protocol"]), [])
