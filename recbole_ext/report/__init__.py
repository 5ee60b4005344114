"""From run records to leaderboard, figures and page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.records import (
    Group,
    Record,
    choose_candidates,
    grouped,
    load_records,
    newest_of_each_seed,
    select_candidates,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LeaderboardReport", "load_records", "select_candidates", "write_report"]


@dataclass(frozen=True)
class LeaderboardReport:
    """A benchmark's leaderboard and costs as tables, its failed runs, and what to know about the numbers."""

    folder: Path
    table: pd.DataFrame
    costs: pd.DataFrame
    runs: dict[Group, list[Record]]
    failed: list[Record]
    notes: list[str]

    def lines(self) -> list[str]:
        """The main columns as an aligned table for the terminal, failures, notes, and where the rest is."""
        from recbole_ext.report.cells import leaderboard_sheet
        from recbole_ext.report.leaderboard import headline_metrics, improvements_of

        metrics = headline_metrics(self.table)[:2]
        improvements = [metric for metric in improvements_of(self.table) if metric == metrics[0]]
        lines = leaderboard_sheet(self.table, self.runs, metrics, improvements).lines()
        lines += [f"failed: {record['run']}: {record.get('error', 'no reason recorded')}" for record in self.failed]
        lines += [f"note: {note}" for note in self.notes]
        return [*lines, f"all columns: {self.folder / 'leaderboard.md'}   page: {self.folder / 'index.html'}"]


def write_report(folder: Path) -> LeaderboardReport:
    """Write leaderboard.csv, leaderboard.md, figures/*.png and index.html from ``folder``/runs/*.json.

    ``folder`` is ``runs/BENCHMARK``; the page also shows the studies in ``runs/studies``. Records of
    candidates that a search did not choose count only for the choice; of several records of one group, candidate
    and seed the newest counts. Raises ConfigurationError when there is no record, no finished run, or a record or
    study is damaged.
    """
    from recbole_ext.report.best import best_section
    from recbole_ext.report.figures import draw_figures
    from recbole_ext.report.leaderboard import costs_table, leaderboard_table
    from recbole_ext.report.page import Content, render_markdown, render_page
    from recbole_ext.report.paper import paper_section
    from recbole_ext.report.popularity import add_popularity
    from recbole_ext.report.provenance import trace
    from recbole_ext.report.significance import compare_with_none
    from recbole_ext.report.studies import load_studies
    from recbole_ext.writing import replacing_file

    folder = Path(folder)
    records = load_records(folder)
    if not records:
        raise ConfigurationError(
            f"{folder / 'runs'}: no run records. Run a benchmark first: `recbole-ext run BENCHMARK.yaml`, "
            "or `recbole-ext run` for the embedded one, then report its folder, runs/BENCHMARK."
        )
    finished = [record for record in records if record["status"] == "done"]
    if not finished:
        reasons = "; ".join(sorted({str(record.get("error", "no reason recorded")) for record in records}))
        raise ConfigurationError(
            f"{folder / 'runs'}: all {len(records)} runs failed ({reasons}). Put that right and run again."
        )
    studies = load_studies(folder.absolute().parent / "studies")
    current = newest_of_each_seed(finished)
    shown = select_candidates(current)
    runs = grouped(shown)
    comparisons, notes = compare_with_none(shown, folder)
    superseded = sorted({record["run"] for record in finished} - {record["run"] for record in current})
    if superseded:
        notes.append(f"Older than another run of the same row and seed, not in the tables: {', '.join(superseded)}.")

    table, costs = leaderboard_table(shown, comparisons), costs_table(shown)
    table, popularity, more_notes = add_popularity(table, shown, folder)
    notes += more_notes
    best, still_more_notes = best_section(table, shown, folder, runs)
    notes += [note for note in still_more_notes if note not in notes]
    sections = [section for section in (best, paper_section(table, runs), popularity) if section]
    provenance = trace(records, shown, choose_candidates(current), notes)
    drawings = draw_figures(table, shown, folder / "figures")
    content = Content.of(table, costs, runs, provenance, drawings, sections, studies)
    with replacing_file(folder / "leaderboard.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    for name, text in (("leaderboard.md", render_markdown(content)), ("index.html", render_page(content))):
        with replacing_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return LeaderboardReport(folder, table, costs, runs, provenance.failed, notes)
