"""``recbole-ext bench quality``: does the fast path reach what stock RecBole's samples reach?"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import ttest_ind

from recbole_ext.errors import ConfigurationError
from recbole_ext.run.benchmark import Benchmark, Initialisation
from recbole_ext.run.executors import executor_of
from recbole_ext.run.grid import run_all
from recbole_ext.run.spec import RunSpec, expand
from recbole_ext.writing import write_json

log = logging.getLogger(__name__)

SETTINGS: dict[str, dict[str, Any]] = {
    "SASRec": {"learning_rate": 1e-3, "train_batch_size": 512, "epochs": 100},
    "BERT4Rec": {"learning_rate": 2e-3, "train_batch_size": 512, "epochs": 15},
}
"""What differs from RecBole's defaults and this package's protocol: both sides train with it."""

SIDES = {"stock": "prefix", "recbole-ext": "user"}
"""Whose training it is: its ``training_samples``. ``prefix`` is RecBole's batches, computed without their padding."""
METRIC = "ndcg@10"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """Test NDCG@10 of one model on one dataset, per seed and side, and when stock's best validation was reached."""

    dataset: str
    model: str
    scores: dict[str, list[float]]
    epochs_to_stocks_best: dict[str, float | None]
    epochs: int

    def as_dict(self) -> dict[str, Any]:
        """With the difference of the means and its confidence interval (Student's t, equal variances)."""
        own, stock = self.scores["recbole-ext"], self.scores["stock"]
        interval = ttest_ind(own, stock).confidence_interval(CONFIDENCE)
        return {
            "dataset": self.dataset,
            "model": self.model,
            "metric": METRIC,
            "scores": self.scores,
            "means": {side: sum(values) / len(values) for side, values in self.scores.items()},
            "difference": sum(own) / len(own) - sum(stock) / len(stock),
            "interval": [float(interval.low), float(interval.high)],
            "epochs_to_stocks_best_validation": self.epochs_to_stocks_best,
            "epochs": self.epochs,
        }


def run_quality(
    datasets: list[str],
    models: list[str],
    seeds: int,
    stock_seeds: int,
    parallel: int,
    data_path: str,
    out: Path,
    command: str,
) -> dict[str, Any]:
    """Train each model both ways with ``seeds`` and ``stock_seeds`` seeds and write ``out``; returns what it wrote.

    The runs are a grid like any other: one record each in ``quality/runs`` beside ``out``, none of them made twice.

    Raises:
        ConfigurationError: a run failed; the message names it.
    """
    comparisons = []
    for model in models:
        benchmark = Benchmark(
            name="quality",
            datasets=datasets,
            models={model: SETTINGS[model]},
            initialisations={"none": Initialisation()},
            protocols={side: {"training_samples": samples} for side, samples in SIDES.items()},
            seeds=list(range(42, 42 + max(seeds, stock_seeds))),
            data_path=data_path,
            results=out.parent,
            parallel_runs=parallel,
        )
        last = {"stock": 42 + stock_seeds, "recbole-ext": 42 + seeds}
        specs = [spec for spec in expand(benchmark, command) if spec.seed < last[spec.protocol]]
        with executor_of(benchmark) as executor:
            failed = run_all(specs, executor, model)
        if failed:
            raise ConfigurationError(f"{failed[0].record_path}: the run failed; see there why, mend it and call again.")
        comparisons += [_compare([s for s in specs if s.dataset == d], d, model) for d in datasets]
    result = {
        "command": command,
        "settings": {model: SETTINGS[model] for model in models},
        "seeds": {"recbole-ext": seeds, "stock": stock_seeds},
        "comparisons": [comparison.as_dict() for comparison in comparisons],
    }
    write_json(out, result)
    return result


def quality_table(result: dict[str, Any]) -> list[str]:
    """The comparisons as a Markdown table."""
    seeds = result["seeds"]
    lines = [
        f"| dataset | model | stock ({seeds['stock']} seeds) | recbole-ext ({seeds['recbole-ext']} seeds) "
        "| difference | 95 % interval |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in result["comparisons"]:
        low, high = row["interval"]
        lines.append(
            f"| {row['dataset']} | {row['model']} | {row['means']['stock']:.4f} | {row['means']['recbole-ext']:.4f} "
            f"| {row['difference']:+.4f} | {low:+.4f} to {high:+.4f} |"
        )
    return lines


def _compare(specs: list[RunSpec], dataset: str, model: str) -> Comparison:
    records = {side: [_record(spec) for spec in specs if spec.protocol == side] for side in SIDES}
    curves = {side: [[e["valid"] for e in r["curve"]] for r in of_side] for side, of_side in records.items()}
    scores = {side: [record["test"][METRIC] for record in of_side] for side, of_side in records.items()}
    return Comparison(
        dataset, model, scores, epochs_to_stocks_best(curves), int(records["stock"][0]["config"]["epochs"])
    )


def epochs_to_stocks_best(curves: dict[str, list[list[float]]]) -> dict[str, float | None]:
    """Epochs until the best validation score that stock reached with every seed, the median over a side's seeds.

    Args:
        curves: validation score by epoch, for every seed of a side.

    Returns:
        Epochs by side; ``None`` where half of a side's seeds or more never reach it.
    """
    goal = min(max(curve) for curve in curves["stock"])

    def reached(curve: list[float]) -> float:
        return next((float(epoch) for epoch, value in enumerate(curve, start=1) if value >= goal), inf)

    needed = {side: median(reached(curve) for curve in of_side) for side, of_side in curves.items()}
    return {side: epochs if epochs < inf else None for side, epochs in needed.items()}


def _record(spec: RunSpec) -> dict[str, Any]:
    return json.loads(spec.record_path.read_text(encoding="utf-8"))
