"""The page above all benchmarks of a results folder: each one's best rows, the studies, and performance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, is_control
from recbole_ext.records.card import read_cards
from recbole_ext.report.boards import Board, RunList
from recbole_ext.report.cells import Cell, Column, Row, Sheet, mark_cell, number_cell, percent_cell, text_cell
from recbole_ext.report.encoders import Group, group_cards
from recbole_ext.report.leaderboard import improvement_of, mark_of, std_of
from recbole_ext.report.leaderboard_file import number_in, read_lines
from recbole_ext.report.metrics import headline, metric_title
from recbole_ext.report.page import render_html
from recbole_ext.report.studies import Study, as_html, load_study
from recbole_ext.writing import replacing_file

STUDIES = "studies"
PERFORMANCE = "performance"
ENCODERS = "encoders"
GENERATOR = '<meta name="generator" content="recbole-ext">'
"""Tells this page from an index.html that somebody else put there, which is left alone."""

_COLUMNS = [
    Column("benchmark", "Benchmark", numeric=False),
    Column("dataset", "Dataset", numeric=False),
    Column("protocol", "Protocol", numeric=False),
    Column("best", "Best row", numeric=False),
    Column("score", "Score", spread=True),
    Column("change", "vs baseline"),
    Column("mark", "Mark", numeric=False),
    Column("fair", "Fair comparisons", numeric=False),
    Column("date", "Date", numeric=False),
]


@dataclass(frozen=True)
class Measured:
    """A table of ``results/performance``: its file, and its Markdown as HTML."""

    name: str
    path: str
    html: str


@dataclass(frozen=True)
class Index:
    """What the page shows."""

    name: str
    benchmarks: Board
    number: int
    studies: list[Study]
    performance: list[Measured]
    notes: list[str]
    cards: list[Group]
    """Score cards by suite; their page is beside this one."""

    @property
    def number_of_cards(self) -> int:
        return sum(len(group.cards) for group in self.cards)

    def list_of(self, row: Row) -> RunList | None:
        """Rows of this page lead to pages, not to run records."""
        return None


def write_index(results: Path) -> Path | None:
    """Write ``results``/index.html, from the grids and leaderboards below it.

    An index.html that this package did not write is left as it is; returns ``None`` then.
    """
    path = results / "index.html"
    if path.exists() and GENERATOR not in path.read_text(encoding="utf-8", errors="replace"):
        return None
    page = render_html("index.html.j2", index=read_index(results), generator=GENERATOR)
    with replacing_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def read_index(results: Path) -> Index:
    """The benchmarks, studies and performance below ``results``; what can't be read becomes a note."""
    rows: list[Row] = []
    notes, number = [], 0
    for path in sorted(results.glob("*/grid.json")):
        try:
            found = list(_best_rows(path.parent))
        except ConfigurationError as error:
            notes.append(str(error))
            continue
        rows += found
        number += 1
    performance = []
    for file in sorted((results / PERFORMANCE).rglob("*.md")):
        try:
            html = as_html(file.read_text(encoding="utf-8"), "")
        except (OSError, UnicodeDecodeError) as error:
            notes.append(f"{file} can't be read as UTF-8 text ({error}). Write it again, or remove it.")
            continue
        performance.append(Measured(_name(file), quote(file.relative_to(results).as_posix()), html))
    board = Board("benchmarks", "Best row of each benchmark, dataset and protocol", Sheet(_COLUMNS, rows))
    studies, unreadable = readable_studies(results / STUDIES)
    notes += unreadable
    try:
        cards = _cards(results / ENCODERS)
    except ConfigurationError as error:
        notes.append(str(error))
        cards = []
    return Index(results.resolve().name, board, number, studies, performance, notes, cards)


def readable_studies(folder: Path) -> tuple[list[Study], list[str]]:
    """The studies in ``folder`` by name, and a sentence about each that is damaged."""
    studies, unreadable = [], []
    for path in sorted(folder.glob("*/study.json")):
        try:
            studies.append(load_study(path.parent))
        except ConfigurationError as error:
            unreadable.append(str(error))
    return studies, unreadable


def _name(measured: Path) -> str:
    """What was measured and, of a device's folder, on what."""
    return measured.stem if measured.parent.name == PERFORMANCE else f"{measured.stem}, {measured.parent.name}"


def _cards(folder: Path) -> list[Group]:
    """None where no page is made of them, to which this one could lead."""
    return group_cards(folder, read_cards(folder)) if (folder / "index.html").is_file() else []


def _best_rows(folder: Path) -> Iterator[Row]:
    grid = Grid.read(folder)
    lines = [line for line in read_lines(folder) if not line["source"]]
    metrics = [name.removesuffix("_std") for name in (lines[0] if lines else {}) if name.endswith("_std")]
    metric = headline(metrics, grid.metric)[0]
    families: dict[tuple[str, str], list[dict[str, str]]] = {}
    for line in lines:
        families.setdefault((line["dataset"], line["protocol"]), []).append(line)
    for of_family in families.values():
        yield _row(folder, metric, of_family)


def _row(folder: Path, metric: str, lines: list[dict[str, str]]) -> Row:
    best: Mapping[str, Any] = next((line for line in lines if line["rank"] == "1"), lines[0])
    score, deviation = number_in(best, metric), number_in(best, std_of(metric))
    shown, mark = number_cell(score, 4), best.get(mark_of(metric)) or ""
    if not math.isnan(deviation):
        shown = Cell(shown.text, shown.value, f"± {deviation:.4f}", deviation=deviation)
    name = Cell(folder.name, folder.name, link=quote(f"{folder.name}/index.html"))
    cells = [name, text_cell(best["dataset"]), text_cell(best["protocol"])]
    cells += [replace(text_cell(f"{best['model']}, {best['variant']}"), below=f"by {metric_title(metric)}"), shown]
    cells += [
        percent_cell(number_in(best, improvement_of(metric)), mark=mark),
        mark_cell(mark),
        text_cell(_outcomes(lines, metric)),
    ]
    return Row([*cells, text_cell(max(line["date"] for line in lines)[:10])])


def _outcomes(lines: Sequence[Mapping[str, str]], metric: str) -> str:
    """How the fair comparisons with baselines come out: ``3 better; of controls 2 without a difference shown``."""
    parts = []
    for said, of_controls in (("", False), ("of controls ", True)):
        fair = [line for line in lines if line["fair"] == "True" and is_control(line["vectors"]) == of_controls]
        marks = Counter(line.get(mark_of(metric)) for line in fair)
        ways = {"better": "better", "worse": "worse", "tie": "without a difference shown"}
        found = [f"{marks[mark]} {way}" for mark, way in ways.items() if marks[mark]]
        parts += [said + ", ".join(found)] if found else []
    return "; ".join(parts) or "none"
