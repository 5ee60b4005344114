"""Where the numbers come from: commands, data, versions, vectors, chosen candidates, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.report.cells import Sheet, plain_sheet
from recbole_ext.report.records import Choice, Group, Record, group_of, newest_of_each_seed


@dataclass(frozen=True)
class Provenance:
    """All that a report says about its runs, taken from the records alone."""

    benchmark: str
    commands: list[str]
    git_revisions: list[str]
    devices: list[str]
    dates: list[str]
    datasets: Sheet
    versions: Sheet
    vectors: Sheet
    candidates: Sheet
    failed: list[Record]
    finished: int
    shown: int
    notes: list[str]


def trace(
    records: Sequence[Record],
    shown: Sequence[Record],
    choices: Mapping[Group, Choice],
    notes: Sequence[str],
) -> Provenance:
    """Where a leaderboard comes from: ``records`` are all there are, ``shown`` those behind its rows."""
    finished = [record for record in records if record["status"] == "done"]
    return Provenance(
        benchmark=_distinct(records, lambda r: r["benchmark"])[0],
        commands=_distinct(records, lambda r: r.get("command")),
        git_revisions=_distinct(records, lambda r: r.get("git_revision")),
        devices=_distinct(records, lambda r: r.get("device")),
        dates=sorted({str(r["date"])[:10] for r in records if r.get("date")}),
        datasets=_datasets(finished),
        versions=_versions(finished),
        vectors=_vectors(shown),
        candidates=_candidates(choices, shown),
        failed=[record for record in newest_of_each_seed(records) if record["status"] == "failed"],
        finished=len(finished),
        shown=len(shown),
        notes=list(notes),
    )


def _datasets(records: Iterable[Record]) -> Sheet:
    runs: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        statistics = record.get("dataset_statistics") or {}
        users, items, interactions = (statistics.get(key) for key in ("users", "items", "interactions"))
        mean_length = f"{interactions / users:.1f}" if users and interactions is not None else None
        row = (record["dataset"], users, items, interactions, mean_length, _short(record, "dataset"))
        runs.setdefault(row, []).append(record)
    titles = {"dataset": False, "users": True, "items": True, "interactions": True}
    titles |= {"interactions per user": True, "fingerprint": False}
    return plain_sheet(titles, sorted(runs, key=lambda row: row[0]), runs)


def _versions(records: Iterable[Record]) -> Sheet:
    versions: dict[str, list[str]] = {}
    for record in records:
        for package, version in (record.get("versions") or {}).items():
            if str(version) not in versions.setdefault(package, []):
                versions[package].append(str(version))
    rows = [(package, ", ".join(versions[package])) for package in sorted(versions)]
    return plain_sheet({"package": False, "version": False}, rows)


def _vectors(records: Iterable[Record]) -> Sheet:
    runs: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        if record["init"] == "none":
            continue
        coverage = record.get("coverage") or {}
        covered = f"{coverage['covered']:,} of {coverage['items']:,}" if coverage else None
        row = (record["dataset"], record["init"], _short(record, "store"), covered)
        runs.setdefault(row, []).append(record)
    titles = {"dataset": False, "init": False, "store fingerprint": False, "items with a vector": False}
    return plain_sheet(titles, sorted(runs, key=lambda row: [str(value) for value in row]), runs)


def _candidates(choices: Mapping[Group, Choice], shown: Sequence[Record]) -> Sheet:
    runs: dict[tuple[Any, ...], list[Record]] = {}
    for group, choice in choices.items():
        if choice.tried == 1 and not choice.candidate:
            continue
        settings = ", ".join(f"{key}={value}" for key, value in sorted(choice.candidate.items()))
        validation = None if choice.validation is None else f"{choice.validation:.4f}"
        row = (*group, settings, choice.tried, choice.metric, validation, str(choice.search_seed))
        runs[row] = [r for r in shown if group_of(r) == group and r["seed"] == choice.search_seed]
    titles = dict.fromkeys(("dataset", "model", "init", "mode", "protocol", "chosen"), False)
    titles |= {"of": True, "by validation": False, "value": True, "on seed": True}
    return plain_sheet(titles, runs, runs)


def _distinct(records: Iterable[Record], value: Callable[[Record], Any]) -> list[str]:
    return list(dict.fromkeys(str(v) for record in records if (v := value(record)) is not None))


def _short(record: Record, of: str) -> str | None:
    fingerprint = (record.get("fingerprints") or {}).get(of)
    return str(fingerprint)[:12] if fingerprint else None
