"""What a reader opens: `leaderboard.md` and the self-contained `index.html`, from the same sheets."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from recbole_ext.report.boards import (
    Board,
    RunList,
    compares_with_none,
    filter_choices,
    leaderboards,
    run_lists,
    run_names,
)
from recbole_ext.report.cells import (
    Cell,
    Row,
    Sheet,
    costs_sheet,
    full_leaderboard_sheet,
    leaderboard_sheet,
    metric_title,
)
from recbole_ext.report.figures import DOTS_PER_INCH, Drawing
from recbole_ext.report.leaderboard import headline_metrics, improvements_of, metrics_of
from recbole_ext.report.provenance import Provenance
from recbole_ext.report.records import Group, Record
from recbole_ext.report.sections import Section
from recbole_ext.report.studies import Study

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Content:
    """Everything that both documents show."""

    main: Sheet
    full: Sheet
    costs: Sheet
    provenance: Provenance
    drawings: list[Drawing]
    studies: list[Study]
    marks: Counter[str]
    sections: list[Section]
    headline: list[str]
    runs: Mapping[Group, list[Record]]

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        costs: pd.DataFrame,
        runs: Mapping[Group, list[Record]],
        provenance: Provenance,
        drawings: Sequence[Drawing],
        sections: Sequence[Section] = (),
        studies: Sequence[Study] = (),
    ) -> Content:
        """Lay out a leaderboard and its costs; ``runs`` are the records behind each row."""
        headline = [metric for metric in metrics_of(table) if metric in headline_metrics(table)[:2]]
        return cls(
            main=leaderboard_sheet(table, runs, headline, improvements_of(table)),
            full=full_leaderboard_sheet(table, runs),
            costs=costs_sheet(costs, runs),
            provenance=provenance,
            drawings=list(drawings),
            studies=list(studies),
            marks=Counter(table["mark"].dropna()),
            sections=list(sections),
            headline=headline,
            runs=runs,
        )


@dataclass(frozen=True)
class PageTables:
    """The tables of the page and the lists that their numbers lead to."""

    leaderboards: list[Board]
    costs: Board
    candidates: Board
    sources: list[Board]
    filters: dict[str, list[str]]
    lists: dict[tuple[str, ...], RunList]
    sections: list[tuple[Section, list[Board]]]

    @classmethod
    def of(cls, content: Content) -> PageTables:
        boards = leaderboards(content.full, content.main)
        costs = Board("costs", "What each row costs", content.costs)
        traced = content.provenance
        candidates = Board("candidates", "Chosen settings", traced.candidates)
        sources = [
            Board("datasets", "Datasets", traced.datasets),
            Board("vectors", "Item vectors", traced.vectors),
            Board("versions", "Versions", traced.versions),
        ]
        sections = [
            (
                section,
                [Board(f"{section.name}-{n}", title, sheet) for n, (title, sheet) in enumerate(section.sheets.items())],
            )
            for section in content.sections
        ]
        in_sections = [board for _, of_section in sections for board in of_section]
        lists = run_lists([*boards, *in_sections, costs, candidates, *sources], content.runs)
        shown = [board for board in sources if board.sheet.rows]
        return cls(boards, costs, candidates, shown, filter_choices(boards), lists, sections)

    def list_of(self, row: Row) -> RunList | None:
        return self.lists.get(run_names(row.runs))


def render_markdown(content: Content) -> str:
    return _environment().get_template("leaderboard.md.j2").render(content=content)


def render_page(content: Content) -> str:
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            content=content,
            tables=PageTables.of(content),
            style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
            script=script,
            # the browser runs this script and no other, whatever a record or a study holds
            script_hash=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        )
    )


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "markdown_cell": _markdown_cell,
        "markdown_text": _markdown_text,
        "markdown_code": _markdown_code,
        "metric_title": metric_title,
        "data_uri": _data_uri,
        "size": _size,
        "record_link": _record_link,
        "compares_with_none": compares_with_none,
    }
    return environment


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(f"{cell.text} {cell.spread}".strip())
    return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.place, text)


def _markdown_text(text: str) -> str:
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\")
    for special in "|*_`[":
        text = text.replace(special, "\\" + special)
    return text


def _markdown_code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("`", "'") + "`"


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _size(path: Path) -> dict[str, int]:
    """In CSS pixels, 96 to the inch, so that text in all figures has the same size on the page."""
    header = path.read_bytes()[16:24]  # a PNG's first chunk: width and height
    width, height = (int.from_bytes(header[i : i + 4], "big") * 96 / DOTS_PER_INCH for i in (0, 4))
    return {"width": round(width), "height": round(height)}


def _record_link(record: Record) -> str:
    return quote(f"runs/{record['run']}.json")
