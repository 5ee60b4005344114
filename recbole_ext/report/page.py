"""What a reader opens: `leaderboard.md` and the self-contained `index.html`, from the same sheets."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from recbole_ext.report.cells import Cell, Sheet, costs_sheet, full_leaderboard_sheet, leaderboard_sheet
from recbole_ext.report.figures import DOTS_PER_INCH, Drawing
from recbole_ext.report.leaderboard import headline_metrics, improvements_of, metrics_of
from recbole_ext.report.provenance import Provenance
from recbole_ext.report.records import Group, Record
from recbole_ext.report.sections import Section


@dataclass(frozen=True)
class Content:
    """Everything that both documents show."""

    main: Sheet
    full: Sheet
    costs: Sheet
    provenance: Provenance
    drawings: list[Drawing]
    marks: Counter[str]
    sections: list[Section]

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        costs: pd.DataFrame,
        runs: Mapping[Group, list[Record]],
        provenance: Provenance,
        drawings: Sequence[Drawing],
        sections: Sequence[Section] = (),
    ) -> Content:
        """Lay out a leaderboard and its costs; ``runs`` are the records behind each row."""
        headline = [metric for metric in metrics_of(table) if metric in headline_metrics(table)[:2]]
        return cls(
            main=leaderboard_sheet(table, runs, headline, improvements_of(table)),
            full=full_leaderboard_sheet(table, runs),
            costs=costs_sheet(costs, runs),
            provenance=provenance,
            drawings=list(drawings),
            marks=Counter(table["mark"].dropna()),
            sections=list(sections),
        )


def render_markdown(content: Content) -> str:
    return _environment().get_template("leaderboard.md.j2").render(content=content)


def render_page(content: Content) -> str:
    return _environment().get_template("index.html.j2").render(content=content)


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
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
        "data_uri": _data_uri,
        "natural_width": _natural_width,
        "record_link": _record_link,
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


def _natural_width(path: Path) -> int:
    """In CSS pixels, 96 to the inch, so that text in all figures has the same size on the page."""
    pixels = int.from_bytes(path.read_bytes()[16:20], "big")  # the width in a PNG's first chunk
    return round(pixels * 96 / DOTS_PER_INCH)


def _record_link(record: Record) -> str:
    return quote(f"runs/{record['run']}.json")
