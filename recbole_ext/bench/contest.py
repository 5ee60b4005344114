"""``recbole-ext bench``: seconds and memory of both sides, interleaved, medians and ratios."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from recbole_ext.bench.measuring import apart, peak_memory, take_turns, timed
from recbole_ext.data.dataset import Dataset

if TYPE_CHECKING:
    from recbole_ext.bench.contestants import Contestant
    from recbole_ext.benchmark import RunSpec

MEMORY = ("peak_memory_mb", "peak_device_memory_mb")


@dataclass(frozen=True)
class Contest:
    """What is compared: one model on one dataset.

    ``reach`` is a validation NDCG@10 to train to (0: not measured), ``limit`` the seconds after which a side that has
    not reached it stops.
    """

    model: str
    dataset: Dataset
    settings: dict[str, Any] = field(default_factory=dict)
    repeats: int = 3
    reach: float = 0.0
    limit: float = 1200.0

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "dataset": self.dataset.name}


def run_contest(contest: Contest) -> dict[str, Any]:
    """Measure ``contest``; returns the result.

    Both sides live in one process and take turns, so that a machine whose speed drifts slows both. Peak memory is
    that of a process of its own per side, which loads, trains an epoch and evaluates once.

    Raises:
        SourceDataError: the dataset is not there.
    """
    from recbole_ext.bench.contestants import SIDES, enter
    from recbole_ext.machine import device_in_words
    from recbole_ext.runs.trial import lone_run

    with tempfile.TemporaryDirectory() as folder:
        spec = lone_run(contest.model, contest.dataset, contest.settings, Path(folder))
        contestants = {side: enter(side, spec) for side in SIDES}
        work: dict[str, Callable[[], Any]] = {}
        for side, contestant in contestants.items():
            work |= {f"{side} epoch": contestant.train_epoch, f"{side} evaluation": contestant.validate}
        seconds = take_turns(work, contest.repeats, f"{contest.dataset.name} {contest.model}")
        sides = {
            side: _summary(contestant, {name: seconds[f"{side} {name}"] for name in ("epoch", "evaluation")})
            for side, contestant in contestants.items()
        }
        device = device_in_words(contestants["stock"].trainer.device)
        del contestants, work
        for side, summary in sides.items():
            summary |= apart(_peak_memory, side, spec)
            if contest.reach:
                summary["seconds_to_reach"] = apart(_seconds_to_reach, side, spec, contest.reach, contest.limit)
    return {
        "contest": contest.as_dict(),
        "device": device,
        "sides": sides,
        "ratios": _ratios(sides["stock"], sides["recbole-ext"]),
    }


def contests_in(folder: Path) -> list[dict[str, Any]]:
    """The results in a device's folder, of this call and of earlier ones, by dataset and model; others are none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and {"contest", "command"} <= content.keys():
            found.append(content)
    return found


def table(results: list[dict[str, Any]]) -> list[str]:
    """The results as a Markdown table, one line per contest and measure."""
    measures = {
        "seconds_per_epoch": "seconds per epoch",
        "targets_per_second": "targets per second",
        "seconds_per_evaluation": "seconds per evaluation",
        "peak_memory_mb": "peak memory, MiB",
        "peak_device_memory_mb": "peak memory of the GPU, MiB",
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
                f"| {contest['dataset']} | {contest['model']} | {label} | {_four_digits(stock[measure])} "
                f"| {_four_digits(own[measure])} | {result['ratios'][measure]:.1f} |"
            )
    return lines


def _four_digits(value: float) -> str:
    """Of four significant digits, and never with an exponent: ``24,710``, ``0.1345``."""
    rounded = float(f"{value:.4g}")
    return f"{rounded:,.0f}" if rounded >= 1000 else f"{rounded:g}"


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
    less_is_better = ("seconds_per_epoch", "seconds_per_evaluation", *MEMORY, "seconds_to_reach")
    for measure in less_is_better:
        if stock.get(measure) and own.get(measure):
            ratios[measure] = stock[measure] / own[measure]
    ratios["targets_per_second"] = own["targets_per_second"] / stock["targets_per_second"]
    return ratios


def _peak_memory(side: str, spec: RunSpec) -> dict[str, float]:
    from recbole_ext.bench.contestants import enter

    contestant = enter(side, spec)
    contestant.train_epoch()
    contestant.validate()
    return peak_memory(contestant.trainer.device)


def _seconds_to_reach(side: str, spec: RunSpec, reach: float, limit: float) -> float | None:
    """Training and evaluation seconds until ``reach``; ``None`` where it was not reached in time."""
    from recbole_ext.bench.contestants import enter

    contestant = enter(side, spec)
    spent = 0.0
    while spent < limit:
        training, _ = timed(contestant.train_epoch)
        validation, score = timed(contestant.validate)
        spent += training + validation
        if score >= reach:
            return spent
    return None
