"""``recbole-ext bench``: seconds and memory of both sides, interleaved, medians and ratios."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from recbole_ext.data.files import require_dataset
from recbole_ext.writing import write_json

if TYPE_CHECKING:
    from recbole_ext.bench.contestants import Contestant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contest:
    """What is compared: one model on one dataset.

    ``reach`` is a validation NDCG@10 to train to (0: not measured), ``limit`` the seconds after which a side that has
    not reached it stops.
    """

    model: str
    dataset: str
    settings: dict[str, Any]
    repeats: int = 3
    reach: float = 0.0
    limit: float = 1200.0


def run_contest(contest: Contest, out: Path, command: str) -> dict[str, Any]:
    """Measure ``contest`` and write ``out``; returns what it wrote.

    Both sides live in one process and take turns, so that a machine whose speed drifts slows both. Peak memory is
    that of a process of its own per side, which loads, trains an epoch and evaluates once.

    Raises:
        SourceDataError: the dataset is not there.
    """
    from recbole_ext.bench.contestants import SIDES, enter
    from recbole_ext.run.machine import device_in_words, git_revision, versions

    require_dataset(contest.dataset, contest.settings["data_path"])
    seconds: dict[str, dict[str, list[float]]] = {side: {"epoch": [], "evaluation": []} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        sides = {side: enter(side, contest.model, contest.dataset, contest.settings, Path(folder)) for side in SIDES}
        for repeat in range(contest.repeats):
            for side, contestant in sides.items():
                seconds[side]["epoch"].append(_timed(contestant.train_epoch))
                seconds[side]["evaluation"].append(_timed(contestant.validate))
                log.info(
                    "%s %s, repeat %d, %s: epoch %.2f s, evaluation %.2f s",
                    contest.dataset,
                    contest.model,
                    repeat + 1,
                    side,
                    seconds[side]["epoch"][-1],
                    seconds[side]["evaluation"][-1],
                )
        device = device_in_words(sides["stock"].trainer.device)
        result: dict[str, Any] = {
            "contest": asdict(contest),
            "command": command,
            "device": device,
            "versions": versions(),
            "git_revision": git_revision(),
            "sides": {side: _summary(contestant, seconds[side]) for side, contestant in sides.items()},
        }
        del sides
        for side in SIDES:
            result["sides"][side]["peak_memory_mb"] = _in_own_process(_peak_memory, side, contest)
            if contest.reach:
                result["sides"][side]["seconds_to_reach"] = _in_own_process(_seconds_to_reach, side, contest)
    result["ratios"] = _ratios(result["sides"]["stock"], result["sides"]["recbole-ext"])
    write_json(out, result)
    return result


def table(results: list[dict[str, Any]]) -> list[str]:
    """The results as a Markdown table, one line per contest and measure."""
    measures = {
        "seconds_per_epoch": "seconds per epoch",
        "targets_per_second": "targets per second",
        "seconds_per_evaluation": "seconds per evaluation",
        "peak_memory_mb": "peak memory, MiB",
        "seconds_to_reach": "seconds to reach",
    }
    lines = [
        "| dataset | model | measure | stock RecBole | recbole-ext | ratio |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for result in results:
        contest, stock, own = result["contest"], result["sides"]["stock"], result["sides"]["recbole-ext"]
        for measure, words in measures.items():
            if stock.get(measure) is None or own.get(measure) is None:
                continue
            label = f"{words} {contest['reach']}" if measure == "seconds_to_reach" else words
            lines.append(
                f"| {contest['dataset']} | {contest['model']} | {label} | {stock[measure]:,.4g} | {own[measure]:,.4g} "
                f"| {result['ratios'][measure]:.1f} |"
            )
    return lines


def _summary(contestant: Contestant, seconds: dict[str, list[float]]) -> dict[str, Any]:
    epoch = median(seconds["epoch"])
    return {
        "training_samples": contestant.training_samples,
        "seconds": seconds,
        "seconds_per_epoch": epoch,
        "seconds_per_evaluation": median(seconds["evaluation"]),
        "targets_per_epoch": contestant.targets_per_epoch,
        "targets_per_second": contestant.targets_per_epoch / epoch,
    }


def _ratios(stock: dict[str, Any], own: dict[str, Any]) -> dict[str, float]:
    """How many times better this package is, per measure that both sides have."""
    ratios = {}
    for measure in ("seconds_per_epoch", "seconds_per_evaluation", "peak_memory_mb", "seconds_to_reach"):
        if stock.get(measure) and own.get(measure):
            ratios[measure] = stock[measure] / own[measure]
    ratios["targets_per_second"] = own["targets_per_second"] / stock["targets_per_second"]
    return ratios


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _in_own_process(measure: Callable[[str, Contest], Any], side: str, contest: Contest) -> Any:
    """``measure(side, contest)`` in a fresh process: its memory and its random state are its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(measure, (side, contest))


def _peak_memory(side: str, contest: Contest) -> float:
    from recbole_ext.bench.contestants import enter
    from recbole_ext.run.machine import peak_memory_mb

    with tempfile.TemporaryDirectory() as folder:
        contestant = enter(side, contest.model, contest.dataset, contest.settings, Path(folder))
        contestant.train_epoch()
        contestant.validate()
    return peak_memory_mb()


def _seconds_to_reach(side: str, contest: Contest) -> float | None:
    """Training and evaluation seconds until ``contest.reach``; ``None`` where it was not reached in time."""
    from recbole_ext.bench.contestants import enter

    with tempfile.TemporaryDirectory() as folder:
        contestant = enter(side, contest.model, contest.dataset, contest.settings, Path(folder))
        spent = 0.0
        while spent < contest.limit:
            spent += _timed(contestant.train_epoch)
            began = time.perf_counter()
            reached = contestant.validate() >= contest.reach
            spent += time.perf_counter() - began
            if reached:
                return spent
    return None
