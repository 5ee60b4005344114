"""Where the numbers come from: the command, data, versions, vectors, chosen trials, failures, and what lies beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.records import Earlier, Grid, RunRecord
from recbole_ext.report.cells import Sheet, plain_sheet, signed
from recbole_ext.report.leaderboard import Leaderboard, key_of, lines_of
from recbole_ext.report.links import links_of
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.protocols import protocols_in_words
from recbole_ext.report.results import Result


@dataclass(frozen=True)
class Provenance:
    """All that a report says about its runs, taken from the grid and the records alone.

    Attributes:
        shown: how many finished runs stand behind the tables; ``finished``: those of the search among them.
        failed: failed runs that the grid asks for.
        history: records in the folder that it does not ask for.
        links: where more is said about models and encoders; see :func:`recbole_ext.report.links.links_of`.
        protocols: each protocol in words; see :func:`recbole_ext.report.protocols.protocols_in_words`.
    """

    grid: Grid
    git_revisions: list[str]
    devices: list[str]
    dates: list[str]
    datasets: Sheet
    versions: Sheet
    vectors: Sheet
    trials: Sheet
    failed: list[RunRecord]
    finished: int
    shown: int
    history: list[Earlier]
    notes: list[str]
    links: dict[str, str]
    protocols: list[str]


def trace(board: Leaderboard, history: Sequence[Earlier], notes: Sequence[str]) -> Provenance:
    """Where a leaderboard comes from."""
    results = [board.results[key_of(line)] for line in lines_of(board.table) if not line["source"]]
    shown = _distinct_runs(record for result in results for record in result.runs)
    finished = _distinct_runs(record for result in results for record in (*result.runs, *result.search))
    failed = _distinct_runs(record for result in results for record in result.failed)
    return Provenance(
        grid=board.grid,
        git_revisions=_distinct(finished, lambda r: r.git_revision),
        devices=_distinct(finished, lambda r: r.made.device if r.made else None),
        dates=sorted({record.date[:10] for record in finished}),
        datasets=_datasets(finished),
        versions=_versions(finished),
        vectors=_vectors(shown),
        trials=_trials(results),
        failed=failed,
        finished=len(finished),
        shown=len(shown),
        history=list(history),
        notes=list(notes),
        links=links_of(results),
        protocols=protocols_in_words(shown),
    )


def _distinct_runs(records: Iterable[RunRecord]) -> list[RunRecord]:
    return list({record.run: record for record in records}.values())


def _datasets(records: Iterable[RunRecord]) -> Sheet:
    runs: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        size = record.evaluated.statistics
        mean_length = f"{size.interactions / size.users:.1f}" if size.users else None
        ranks_seen = record.evaluated.config.get("rank_seen_items")
        seen = ("ranked" if ranks_seen else "not ranked") if isinstance(ranks_seen, bool) else None
        counts = (size.users, size.items, size.interactions, mean_length)
        row = (record.dataset, *counts, seen, record.fingerprints.dataset[:12])
        runs.setdefault(row, []).append(record)
    titles = {"dataset": False, "users": True, "items": True, "interactions": True}
    titles |= {"interactions per user": True, "items that the user has seen": False, "fingerprint": False}
    return plain_sheet(titles, sorted(runs, key=lambda row: row[0]), runs)


def _versions(records: Iterable[RunRecord]) -> Sheet:
    versions: dict[str, list[str]] = {}
    for record in records:
        for package, version in record.evaluated.versions.items():
            if version not in versions.setdefault(package, []):
                versions[package].append(version)
    rows = [(package, ", ".join(versions[package])) for package in sorted(versions)]
    return plain_sheet({"package": False, "version": False}, rows)


def _vectors(records: Iterable[RunRecord]) -> Sheet:
    runs: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        coverage, store = record.made.coverage if record.made else None, record.fingerprints.vectors
        if coverage is None and store is None:
            continue
        covered = f"{coverage.covered:,} of {coverage.items:,}" if coverage else None
        row = (record.dataset, record.variant, store[:12] if store else None, covered)
        runs.setdefault(row, []).append(record)
    titles = {"dataset": False, "initialisation": False, "store fingerprint": False, "items with a vector": False}
    return plain_sheet(titles, sorted(runs, key=lambda row: [str(value) for value in row]), runs)


def _trials(results: Iterable[Result]) -> Sheet:
    """What the search chose for each row, and how the chosen one stands among the trials."""
    runs: dict[tuple[Any, ...], list[RunRecord]] = {}
    for result in results:
        chosen = result.chosen
        if chosen is None:
            continue
        settings = ", ".join(f"{key}={value}" for key, value in chosen.trial.items()) or "as the benchmark says"
        score, middle = chosen.done.score, result.median_of_search
        above = "" if score is None or not middle else f"{signed(100 * (score / middle - 1), 1)} %"
        row = (
            *result.key,
            settings,
            f"{len(result.search)} of {len(result.row.trials)}",
            metric_title(chosen.done.valid_metric),
            None if score is None else f"{score:.4f}",
            None if middle is None else f"{middle:.4f}",
            above if len(result.search) > 1 else None,
            str(chosen.seed),
        )
        runs[row] = [chosen]
    titles = dict.fromkeys(("dataset", "model", "initialisation", "protocol", "chosen"), False)
    titles |= {"trials": True, "by validation": False, "value": True, "median of trials": True}
    return plain_sheet(titles | {"above the median": True, "on seed": True}, runs, runs)


def _distinct(records: Iterable[RunRecord], value: Callable[[RunRecord], str | None]) -> list[str]:
    return list(dict.fromkeys(v for record in records if (v := value(record)) is not None))
