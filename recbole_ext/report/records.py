"""The run records of a benchmark: reading them, and choosing those that the leaderboard stands on."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.errors import ConfigurationError

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Group = tuple[str, str, str, str, str]
GROUP_KEYS = ("dataset", "model", "init", "mode", "protocol")
WITHOUT_NONE = ("-", "text")
"""The modes of models that are made of item vectors, and of those that read text."""

_NEEDED: dict[str, type] = {
    **dict.fromkeys(("run", "benchmark", *GROUP_KEYS, "status"), str),
    "seed": int,
    "candidate": dict,
}
_NEEDED_WHEN_DONE: dict[str, type] = {"config": dict, "validation": dict, "test": dict}


@dataclass(frozen=True)
class Choice:
    """The candidate that stands for its group, and on what ground it was chosen.

    ``tried`` counts the candidates that finished on ``search_seed``; ``validation`` is the chosen one's
    value of ``metric`` there, None when there was only one candidate and it does not report that metric.
    """

    candidate: dict[str, Any]
    tried: int
    search_seed: int
    metric: str
    validation: float | None


def load_records(folder: Path) -> list[Record]:
    """All run records of the benchmark folder ``results/BENCHMARK``, by run name; [] when there are none.

    Raises ConfigurationError for a damaged record, naming its file and what is wrong with it.
    """
    return [_load_record(path) for path in sorted((folder / "runs").glob("*.json"))]


def grouped(records: Iterable[Record]) -> dict[Group, list[Record]]:
    """Records by (dataset, model, init, mode, protocol): ``none`` before other inits, seeds ascending."""
    groups: dict[Group, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record["seed"], record["run"])):
        groups.setdefault(group_of(record), []).append(record)
    return dict(sorted(groups.items(), key=lambda item: _reading_order(item[0])))


def group_of(record: Record) -> Group:
    return (record["dataset"], record["model"], record["init"], record["mode"], record["protocol"])


def newest_of_each_seed(records: Iterable[Record]) -> list[Record]:
    """One record per group, candidate and seed: where a changed setting left several, the last one made."""
    newest = {(group_of(r), _candidate_of(r), r["seed"]): r for r in sorted(records, key=_age)}
    return sorted(newest.values(), key=lambda record: record["run"])


def choose_candidates(records: Iterable[Record]) -> dict[Group, Choice]:
    """Per group the candidate with the best validation metric on the group's search seed.

    The search seed is the smallest seed on which all of the group's finished candidates were run (when a
    half-finished search leaves no such seed, the one on which most were). Failed runs don't compete; a
    group of failed runs alone has no entry. Raises ConfigurationError when a record that competes with
    others lacks the metric that its ``config["valid_metric"]`` names.
    """
    choices: dict[Group, Choice] = {}
    for group, members in grouped(r for r in records if r["status"] == "done").items():
        runs: dict[str, dict[int, Record]] = {}
        for record in sorted(members, key=_age):
            runs.setdefault(_candidate_of(record), {})[record["seed"]] = record
        seeds = Counter(seed for by_seed in runs.values() for seed in by_seed)
        search_seed = min(seeds, key=lambda seed: (-seeds[seed], seed))
        competing = [by_seed[search_seed] for _, by_seed in sorted(runs.items()) if search_seed in by_seed]
        if len(competing) < len(runs):
            logger.warning("%s: not all candidates have finished on one seed", "/".join(group))
        best = max(competing, key=_validation) if len(competing) > 1 else competing[0]
        metric = validation_metric(best)
        choices[group] = Choice(best["candidate"], len(competing), search_seed, metric, best["validation"].get(metric))
    return choices


def select_candidates(records: Iterable[Record]) -> list[Record]:
    """The records of each group's chosen candidate (see :func:`choose_candidates`), failed ones included.

    A group in which no run finished has nothing to choose by, and keeps all of its records.
    """
    records = list(records)
    chosen = {group: _key(choice.candidate) for group, choice in choose_candidates(records).items()}
    return [r for r in records if chosen.get(group_of(r), _candidate_of(r)) == _candidate_of(r)]


def validation_metric(record: Record) -> str:
    """The metric that early stopping and the search go by, spelt as in RecBole's results: ``ndcg@10``."""
    return str(record["config"].get("valid_metric", "NDCG@10")).lower()


def _validation(record: Record) -> float:
    metric = validation_metric(record)
    if metric not in record["validation"]:
        raise ConfigurationError(
            f"runs/{record['run']}.json: `validation` lacks `{metric}`, the metric its candidates are chosen "
            "by. Add its cutoff to `topk`, or name another `valid_metric`, delete the record and run again."
        )
    return float(record["validation"][metric])


def _load_record(path: Path) -> Record:
    way_out = "Delete the file and run the benchmark again: only this run is repeated."
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}: not JSON ({error.msg}). {way_out}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text (byte {error.start}). {way_out}") from error
    if not isinstance(record, dict):
        raise ConfigurationError(f"{path}: not a run record but a {type(record).__name__}. {way_out}")
    needed = _NEEDED | (_NEEDED_WHEN_DONE if record.get("status") == "done" else {})
    for key, kind in needed.items():
        if not isinstance(record.get(key), kind):
            problem = f"should be a {kind.__name__}" if key in record else "is missing"
            raise ConfigurationError(f"{path}: key `{key}` {problem}. {way_out}")
    if record["status"] not in ("done", "failed"):
        raise ConfigurationError(f"{path}: `status` is `{record['status']}`, not `done` or `failed`. {way_out}")
    if record["run"] != path.stem:
        raise ConfigurationError(f"{path}: holds the run `{record['run']}`; rename it to {record['run']}.json.")
    return record


def _reading_order(group: Group) -> tuple[str, str, str, bool, str, str]:
    dataset, model, init, mode, protocol = group
    return dataset, protocol, model, init != "none", init, mode


def _age(record: Record) -> tuple[bool, str, str]:
    return record["status"] == "done", str(record.get("date") or ""), record["run"]


def _candidate_of(record: Record) -> str:
    return _key(record["candidate"])


def _key(candidate: dict[str, Any]) -> str:
    return json.dumps(candidate, sort_keys=True)
