"""What a reader opens: `leaderboard.md` and the self-contained `index.html`, from the same sheets."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from recbole_ext.records import RunRecord, is_control
from recbole_ext.report.boards import (
    Board,
    RunList,
    filter_choices,
    filter_title,
    leaderboards,
    lean_board,
    remarks_below,
    run_lists,
    run_names,
)
from recbole_ext.report.cells import Cell, Row, Sheet, costs_sheet, leaderboard_sheet
from recbole_ext.report.figures import DOTS_PER_INCH, Drawing
from recbole_ext.report.leaderboard import Leaderboard, mark_of
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.provenance import Provenance
from recbole_ext.report.sections import Section
from recbole_ext.wording import listed

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Content:
    """Everything that both documents show."""

    board: Leaderboard
    main: Sheet
    full: Sheet
    costs: Sheet
    provenance: Provenance
    drawings: list[Drawing]
    sections: list[Section]

    @classmethod
    def of(
        cls,
        board: Leaderboard,
        costs: pd.DataFrame,
        provenance: Provenance,
        drawings: Sequence[Drawing],
        sections: Sequence[Section] = (),
    ) -> Content:
        """Lay out a leaderboard and its costs."""
        return cls(
            board=board,
            main=leaderboard_sheet(board, *board.at_a_glance),
            full=leaderboard_sheet(board, list(dict.fromkeys([*board.headline, *board.metrics])), board.compared),
            costs=costs_sheet(costs, board.results),
            provenance=provenance,
            drawings=list(drawings),
            sections=list(sections),
        )

    @property
    def metric(self) -> str:
        """What rows are ranked by, for people."""
        return metric_title(self.board.headline[0])

    @property
    def finding(self) -> Finding:
        fair = self.board.fair()
        control, marks = fair["vectors"].map(is_control).astype(bool), fair[mark_of(self.board.compared[0])]
        of_rows, of_controls = Outcomes.of(marks[~control]), Outcomes.of(marks[control])
        return Finding(of_rows, of_controls, left_out=len(self.board.baselines) - len(fair))


@dataclass(frozen=True)
class Outcomes:
    """How often a fair comparison with a row's own baseline came out in each way."""

    better: int
    worse: int
    tie: int

    @classmethod
    def of(cls, marks: Iterable[str]) -> Outcomes:
        counted = Counter(marks)
        return cls(counted["better"], counted["worse"], counted["tie"])

    @property
    def fair(self) -> int:
        return self.better + self.worse + self.tie

    def __str__(self) -> str:
        ways = {"better": self.better, "worse": self.worse, "no difference is shown": self.tie}
        said = [f"{way} in {times}" for way, times in ways.items() if times]
        return ", ".join([f"{said[0]} of {self.fair}", *said[1:]]) if said else ""


@dataclass(frozen=True)
class Finding:
    """The fair comparisons, those of controls apart, which are to show no difference.

    ``left_out``: how many were not fair, or not tested.
    """

    of_rows: Outcomes
    of_controls: Outcomes
    left_out: int


@dataclass(frozen=True)
class PageTables:
    """The tables of the page and the lists that their numbers lead to."""

    leaderboards: list[Board]
    costs: Board
    trials: Board
    sources: list[Board]
    filters: dict[str, list[str]]
    lists: dict[tuple[str, ...], RunList]
    sections: list[tuple[Section, list[Board]]]

    @classmethod
    def of(cls, content: Content) -> PageTables:
        boards = leaderboards(remarks_below(content.full), content.main)
        costs = lean_board("costs", "What each row costs", content.costs)
        traced = content.provenance
        trials = lean_board("trials", "The search, row by row", traced.trials)
        sources = [
            Board("datasets", "Datasets", traced.datasets),
            Board("vectors", "Item vectors", traced.vectors),
            Board("versions", "Versions", traced.versions),
        ]
        sections = [
            (
                section,
                [
                    lean_board(f"{section.name}-{n}", title, part)
                    for n, (title, part) in enumerate(section.sheets.items())
                ],
            )
            for section in content.sections
        ]
        in_sections = [board for _, of_section in sections for board in of_section]
        board = content.board
        lists = run_lists([*boards, *in_sections, costs, trials, *sources], board.results, board.baselines)
        shown = [source for source in sources if source.sheet.rows]
        return cls(boards, costs, trials, shown, filter_choices(boards), lists, sections)

    def list_of(self, row: Row) -> RunList | None:
        return self.lists.get(run_names(row.runs))


def render_markdown(content: Content) -> str:
    return environment().get_template("leaderboard.md.j2").render(content=content)


def render_page(content: Content) -> str:
    return render_html("benchmark.html.j2", content=content, tables=PageTables.of(content))


def render_html(template: str, **values: Any) -> str:
    """A page with the common style, and the script that its policy allows and no other."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return (
        environment()
        .get_template(template)
        .render(
            **values,
            style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
            script=script,
            # the browser runs this script and no other, whatever a record or a study holds
            script_hash=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        )
    )


def environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
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
        "filter_title": filter_title,
        "data_uri": _data_uri,
        "size": _size,
        "record_link": _record_link,
        "css_text": _css_text,
        "listed": listed,
    }
    return environment


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(f"{cell.text} {cell.spread}".strip())
    if cell.link:
        text = f"[{text}]({quote(cell.link, safe=':/?#&=%+,;@~!$')})"
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


def _css_text(text: str) -> str:
    """A CSS string; every character that could end it, or the style, is written by its number."""
    return '"' + "".join(c if c.isalnum() or c in " @%()/#" else f"\\{ord(c):x} " for c in text) + '"'


def _record_link(record: RunRecord) -> str:
    return quote(f"{record.kept_in}/{record.run}.json")
