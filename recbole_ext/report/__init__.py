"""From a benchmark's grid and its run records to leaderboard, figures and pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from recbole_ext.records import RunRecord
    from recbole_ext.report.leaderboard import Leaderboard
    from recbole_ext.report.popularity import ByPopularity

__all__ = ["LeaderboardReport", "Reports", "read_report", "write_report", "write_reports"]


@dataclass(frozen=True)
class LeaderboardReport:
    """A benchmark's results: leaderboard and costs as tables, records, figures, and what to know about the numbers.

    Attributes:
        folder: the benchmark's, ``RESULTS/NAME``.
        board: the leaderboard with all that it is made of.
        costs: what each row costs; see :func:`recbole_ext.report.leaderboard.costs_table`.
        failed: failed runs that the benchmark asks for.
        notes: sentences about the numbers.
        popularity: the rows by popularity of the test item.
    """

    folder: Path
    board: Leaderboard
    costs: pd.DataFrame
    failed: list[RunRecord]
    notes: list[str]
    popularity: ByPopularity

    def to_pandas(self) -> pd.DataFrame:
        """The leaderboard as in leaderboard.csv; see :func:`recbole_ext.report.leaderboard.leaderboard`."""
        return self.board.table

    def records(self) -> list[RunRecord]:
        """The finished runs behind the table, by row and seed."""
        return [record for result in self.board.results.values() for record in result.runs]

    def figures(self, folder: Path | str | None = None) -> list[Path]:
        """Draw the figures, of quality and of validation by epoch, as PNG files.

        Args:
            folder: where they go; by default the benchmark's own ``figures``.

        Returns:
            The files.
        """
        from recbole_ext.report.figures import draw_figures

        drawings = draw_figures(self.board, Path(folder).expanduser() if folder else self.folder / "figures")
        return [drawing.path for drawing in drawings]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """In a notebook: the main columns of the leaderboard."""
        from recbole_ext.report.leaderboard import KEYS, improvement_of

        metrics, compared = self.board.at_a_glance
        columns = ["rank", *KEYS, *metrics, *map(improvement_of, compared)]
        return self.board.table[columns].to_html(index=False, float_format=lambda value: f"{value:.4g}", na_rep="–")

    def lines(self) -> list[str]:
        """The main columns as aligned tables for the terminal, failures, notes, and where the rest is."""
        from recbole_ext.report.boards import board_title
        from recbole_ext.report.cells import leaderboard_sheet
        from recbole_ext.report.leaderboard import AT_LIMIT
        from recbole_ext.report.results import error_of

        sheet = leaderboard_sheet(self.board, *self.board.at_a_glance, costs=False)
        lines: list[str] = []
        for (dataset, protocol), part in sheet.split("dataset", "protocol").items():
            lines += [board_title(dataset, protocol), *part.lines(), ""]
        lines += [f"failed: {record.run}: {error_of(record)}" for record in self.failed]
        if any(AT_LIMIT in remark for remark in self.board.table["remarks"]):
            lines.append(f"{AT_LIMIT}: still training when the epoch limit ended it")
        if self.board.grid.search:
            lines.append(f"search: {self.board.grid.search}")
        lines += [f"note: {note}" for note in [*([self.board.grid.note] if self.board.grid.note else []), *self.notes]]
        return [*lines, f"all columns: {self.folder / 'leaderboard.md'}   page: {self.folder / 'index.html'}"]


@dataclass(frozen=True)
class Reports:
    """The reports of all benchmarks in a folder, and a sentence about each one, or study, that can't be read."""

    made: list[LeaderboardReport]
    unreadable: list[str]

    def lines(self) -> list[str]:
        """Those of the reports, and then what is amiss."""
        parts = ["\n".join(report.lines()) for report in self.made]
        return ["\n\n".join(parts), *(f"note: {sentence}" for sentence in self.unreadable)]


def read_report(folder: Path | str) -> LeaderboardReport:
    """The results of the benchmark in ``folder``, from its grid and the records that it names; writes nothing.

    Raises:
        ConfigurationError: there is no grid, none of its runs has finished, a record is damaged, or the records
            contradict the grid.
    """
    from recbole_ext.report.leaderboard import baselines_of, costs_table, leaderboard, metrics_of
    from recbole_ext.report.metrics import compared, headline
    from recbole_ext.report.popularity import by_popularity, with_popularity
    from recbole_ext.report.results import finished_results, outside_results
    from recbole_ext.report.significance import compare_with_baselines

    folder = Path(folder).expanduser()
    grid, results = finished_results(folder)
    outside, left_out = outside_results(folder, results)
    results = [*results, *outside]
    metrics = metrics_of(results)
    baselines = baselines_of({result.key: result for result in results})
    comparisons = compare_with_baselines(results, baselines, compared(metrics, grid.metric), folder)
    popular = by_popularity(results, headline(metrics, grid.metric), folder)
    board = leaderboard(grid, results, comparisons)
    board = board.with_table(with_popularity(board.table, popular))
    failed = {record.run: record for result in results for record in result.failed}
    notes = list(dict.fromkeys([*left_out, *comparisons.notes, *popular.notes]))
    return LeaderboardReport(folder, board, costs_table(results), list(failed.values()), notes, popular)


def write_report(folder: Path | str) -> LeaderboardReport:
    """Write leaderboard.csv, leaderboard.md, figures/*.png and index.html of the benchmark in ``folder``.

    They are made of ``folder``/grid.json and the records that it names, and of nothing else that lies there. The page
    above all benchmarks, index.html beside ``folder``, is written again too.

    Raises:
        ConfigurationError: as :func:`read_report`.
    """
    from recbole_ext.records import history
    from recbole_ext.report.figures import draw_figures
    from recbole_ext.report.index import write_index
    from recbole_ext.report.leaderboard_file import LEADERBOARD
    from recbole_ext.report.page import Content, render_markdown, render_page
    from recbole_ext.report.popularity import popularity_section
    from recbole_ext.report.provenance import trace
    from recbole_ext.writing import replacing_file

    report = read_report(folder)
    folder, board = report.folder, report.board
    section = popularity_section(board, report.popularity)
    provenance = trace(board, history(folder, board.grid), report.notes)
    drawings = draw_figures(board, folder / "figures")
    content = Content.of(board, report.costs, provenance, drawings, [section] if section else [])
    with replacing_file(folder / LEADERBOARD) as temporary:
        board.table.to_csv(temporary, index=False, float_format="%.6g")
    for name, text in (("leaderboard.md", render_markdown(content)), ("index.html", render_page(content))):
        with replacing_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_index(folder.absolute().parent)
    return report


def write_reports(results: Path) -> Reports:
    """The reports of all benchmarks in the folder ``results``, the page above them, and their README where its source
    is there; see :func:`write_report` and :mod:`recbole_ext.report.readme`. What can't be read hides nothing else.

    Raises:
        ConfigurationError: the README asks for a number that no table has.
    """
    from recbole_ext.errors import ConfigurationError
    from recbole_ext.report.index import STUDIES, readable_studies, write_index
    from recbole_ext.report.readme import write_readme

    results = results.expanduser()
    made, unreadable = [], []
    for grid in sorted(results.glob("*/grid.json")):
        try:
            made.append(write_report(grid.parent))
        except ConfigurationError as error:
            unreadable.append(f"{grid.parent}: no report: {error}")
    unreadable += readable_studies(results / STUDIES)[1]
    write_index(results)
    write_readme(results)
    return Reports(made, unreadable)
