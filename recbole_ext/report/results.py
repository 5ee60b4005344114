"""What became of each row that a grid asks for: its finished runs, what failed, what is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from textwrap import shorten

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import OUTSIDE, Grid, Row, RowKey, RunRecord, read_records

OFTEN = 0.01
"""From this share of the test items on a report says that scores tie."""
WAY_OUT = "Run the benchmark again; finished runs are kept."


@dataclass(frozen=True)
class Result:
    """A row of the grid with the records that answer it.

    Attributes:
        runs: finished runs of the chosen trial, by seed.
        search: finished runs of the search, in the order of trials.
        failed: failed runs, of the search or of the chosen trial.
    """

    row: Row
    runs: list[RunRecord]
    search: list[RunRecord]
    failed: list[RunRecord]

    @property
    def key(self) -> RowKey:
        return self.row.key

    @property
    def baseline(self) -> RowKey | None:
        """The row that it is compared with: another variant of its model; of lists, the one that they name."""
        if self.runs and self.runs[0].baseline is not None:
            model, variant = self.runs[0].baseline
            return self.key._replace(model=model, variant=variant)
        return None if self.row.baseline is None else self.key._replace(variant=self.row.baseline)

    @property
    def baseline_in_words(self) -> str:
        """Its variant, of another model that too; empty where there is none."""
        if self.baseline is None:
            return ""
        return ", ".join([self.baseline.model][: self.baseline.model != self.key.model] + [self.baseline.variant])

    @property
    def of_lists(self) -> list[str]:
        """What to know of an outside system's lists; empty for runs of this package."""
        said = dict.fromkeys(remark for record in self.runs if record.lists for remark in record.lists.remarks)
        return list(said)

    @property
    def ties_in_words(self) -> str:
        """How often test items tie with other items, where that is often; empty where it is not."""
        counted = [r.evaluated for r in self.runs if r.evaluated.tied is not None and r.evaluated.test_items]
        share = sum((made.tied or 0) / made.test_items for made in counted) / max(len(counted), 1)
        if share < OFTEN:
            return ""
        how = "in expectation" if all(made.counts_ties_in_expectation for made in counted) else "in the order of topk"
        return f"{100 * share:.0f} % of the test items tie with others, counted {how}"

    @property
    def mode(self) -> str:
        """How vectors are attached, in words; empty where the mode says nothing."""
        return "" if self.row.mode in ("-", "text") else self.row.mode

    @property
    def chosen(self) -> RunRecord | None:
        """The run of the search that validation chose."""
        if self.row.chosen is None:
            return None
        return next((record for record in self.search if record.run == self.row.trials[self.row.chosen]), None)

    @property
    def median_of_search(self) -> float | None:
        """Median over the finished trials' validation."""
        scores = [record.done.score for record in self.search]
        known = [score for score in scores if score is not None]
        return median(known) if known else None

    @property
    def finished(self) -> list[RunRecord]:
        """Its runs and those of its search, each once."""
        return list({record.run: record for record in (*self.runs, *self.search)}.values())

    @property
    def at_limit(self) -> int:
        """How many of them the epoch limit ended; a trial that it cut off may have lost the choice by it."""
        return sum(record.made.ended_at_limit for record in self.finished if record.made)

    @property
    def state(self) -> str:
        """What is missing of it, in words; empty for a row that is complete."""
        of_trials, of_seeds = len(self.row.trials), len(self.row.runs)
        said = []
        if not self.runs and not self.failed:
            said.append("not run yet" if not self.search else "nothing chosen yet")
        if 0 < len(self.search) < of_trials:
            said.append(f"{len(self.search)} of {of_trials} trials")
        if 0 < len(self.runs) < of_seeds:
            said.append(f"{len(self.runs)} of {of_seeds} seeds")
        reasons = dict.fromkeys(shorten(error_of(record), 80, placeholder=" …") for record in self.failed)
        return ", ".join([*said, *(f"failed: {reason}" for reason in reasons)])


def error_of(record: RunRecord) -> str:
    """Why a run failed, on one line."""
    return " ".join((record.error or "no reason recorded").split())


def read_results(folder: Path, grid: Grid) -> list[Result]:
    """Every row of the grid, in its order, with its records in ``folder``.

    Raises:
        ConfigurationError: a record is damaged, or the records contradict what the grid says of them.
    """
    names = dict.fromkeys(run for row in grid.rows for run in (*row.trials, *row.runs))
    records = read_records(folder, list(names))
    return [_result(row, records) for row in grid.rows]


def finished_results(folder: Path) -> tuple[Grid, list[Result]]:
    """A benchmark's grid and results, of which at least one row has a finished run.

    Raises:
        ConfigurationError: none has, or what :func:`read_results` and ``Grid.read`` refuse; says what to run.
    """
    grid = Grid.read(folder)
    return grid, finished_results_of(folder, grid)


def finished_results_of(folder: Path, grid: Grid) -> list[Result]:
    """As :func:`finished_results`, of a grid that somebody else's may have taken the place of in ``folder``."""
    results = read_results(folder, grid)
    if not any(result.runs for result in results):
        failed = {str(record.error) for result in results for record in result.failed}
        what = f"all runs failed ({'; '.join(sorted(failed))}). Put that right" if failed else "no run has finished"
        raise ConfigurationError(f"{folder / 'runs'}: {what}. Run: `{grid.command}`.")
    return results


def outside_results(folder: Path, results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The rows of other systems, whose lists `recbole-ext evaluate` tested, and what to say of those left out.

    A row stands beside those of its dataset and protocol that were tested on the same split.

    Raises:
        ConfigurationError: a damaged record.
    """
    splits = {(result.key.dataset, result.key.protocol, split) for result in results for split in split_of(result)}
    of_row: dict[RowKey, list[RunRecord]] = {}
    notes = []
    for path in sorted((folder / "lists").glob("[!.]*.json")):
        record = RunRecord.read(path)
        row = Result(_row_of_lists([record]), [record], [], [])
        if all((record.dataset, record.protocol, split) in splits for split in split_of(row)):
            of_row.setdefault(record.row, []).append(record)
        else:
            notes.append(
                f"lists/{path.name}: no row of {record.dataset}, {record.protocol} was tested on the same split. Left "
                "out; evaluate the lists again, or delete the file."
            )
    return [Result(_row_of_lists(records), records, [], []) for records in of_row.values()], notes


def split_of(result: Result) -> set[str]:
    """What tells the split of each run: the training and test interactions, or else the files."""
    kept = ((record.evaluated.popularity, record.fingerprints.dataset) for record in result.runs)
    return {popularity.sha256 if popularity else files for popularity, files in kept}


def _row_of_lists(records: list[RunRecord]) -> Row:
    names = [record.run for record in sorted(records, key=lambda record: record.seed)]
    return Row(**records[0].row._asdict(), mode="-", vectors=OUTSIDE, trials=names[:1], runs=names)


def _result(row: Row, records: Mapping[str, RunRecord]) -> Result:
    def of(runs: list[str], status: str) -> list[RunRecord]:
        return [records[run] for run in runs if run in records and records[run].status == status]

    result = Result(
        row,
        runs=sorted(of(row.runs, "done"), key=lambda record: record.seed),
        search=of(row.trials, "done"),
        failed=of(list(dict.fromkeys([*row.trials, *row.runs])), "failed"),
    )
    for record in (*result.runs, *result.search, *result.failed):
        if record.row != row.key:
            raise ConfigurationError(f"runs/{record.run}.json is of the row {record.row}, not {row.key}. {WAY_OUT}")
    _check_choice(result)
    return result


def _check_choice(result: Result) -> None:
    """The chosen trial is the one that validation prefers, and all runs are of it."""
    row, chosen = result.row, result.chosen
    if row.chosen is None:
        return
    if chosen is None:
        if result.search:
            raise ConfigurationError(
                f"{row.key}: grid.json says that trial {row.chosen} was chosen, {row.trials[row.chosen]}, which has "
                f"not finished. {WAY_OUT}"
            )
        return
    if len(result.search) > 1:
        best = max(result.search, key=_merit)
        if _merit(best) > _merit(chosen):
            raise ConfigurationError(
                f"{row.key}: grid.json says that {chosen.run} was chosen, but by validation {best.done.valid_metric} "
                f"{best.run} is better: {best.done.score} against {chosen.done.score}. {WAY_OUT}"
            )
    for record in result.runs:
        if record.trial != chosen.trial:
            raise ConfigurationError(f"{row.key}: {record.run} is not of the chosen trial {chosen.trial}. {WAY_OUT}")


def _merit(record: RunRecord) -> float:
    made = record.done
    if made.merit is None:
        raise ConfigurationError(
            f"runs/{record.run}.json: `validation` lacks {made.valid_metric}, by which its trial is to be chosen."
        )
    return made.merit
