"""``recbole-ext bench quality``: does the fast path reach what stock RecBole's samples reach?"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import ttest_ind

from recbole_ext import api
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, RunRecord, read_records

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
    datasets: list[Dataset], models: list[str], seeds: dict[str, int], parallel: int, folder: Path, command: str
) -> dict[str, Any]:
    """Train each model both ways, with as many ``seeds`` as its side has; returns the result.

    Each side is a benchmark like any other, in ``folder``/quality-SIDE: no run is made twice.

    Raises:
        ConfigurationError: nothing says how a model is trained here, or there are too few seeds for an interval; or a
            run failed, which the message names.
    """
    _check(models, seeds)
    records = {side: _trained(side, datasets, models, seeds[side], parallel, folder, command) for side in SIDES}
    comparisons = [
        _compare({side: of_side[dataset.name, model] for side, of_side in records.items()}, dataset.name, model)
        for model in models
        for dataset in datasets
    ]
    return {
        "settings": {model: SETTINGS[model] for model in models},
        "seeds": seeds,
        "comparisons": [comparison.as_dict() for comparison in comparisons],
    }


def _check(models: list[str], seeds: dict[str, int]) -> None:
    if unknown := [model for model in models if model not in SETTINGS]:
        raise ConfigurationError(
            f"bench quality: nothing says with which settings {', '.join(unknown)} is trained here; compared are "
            f"{', '.join(SETTINGS)}."
        )
    if min(seeds.values()) < 1 or sum(seeds.values()) < 3:
        raise ConfigurationError(
            f"bench quality: {seeds['recbole-ext']} --seeds and {seeds['stock']} --stock-seeds have no interval: give "
            "each side a seed, and one of them two."
        )


def _trained(
    side: str, datasets: list[Dataset], models: list[str], seeds: int, parallel: int, folder: Path, command: str
) -> dict[tuple[str, str], list[RunRecord]]:
    """The finished runs of one side, seed by seed, by dataset and model."""
    content = {
        "name": f"quality-{side}",
        "datasets": [dataset.name for dataset in datasets],
        "models": {model: SETTINGS[model] for model in models},
        "initialisations": ["random"],
        "config": {"training_samples": SIDES[side]},
        "seeds": list(range(42, 42 + seeds)),
        "data_path": datasets[0].data_path,
        "dataset_configs": datasets[0].configs,
        "results": folder,
        "parallel_runs": parallel,
    }
    outcome = api.run(content, command=command)
    if outcome.failed:
        raise ConfigurationError(
            f"{outcome.folder}/runs/{outcome.failed[0]}.json: the run failed; see there why, mend it and call again."
        )
    rows = Grid.read(outcome.folder).rows
    records = {(row.dataset, row.model): read_records(outcome.folder, row.runs) for row in rows}
    return {key: sorted(found.values(), key=lambda record: record.seed) for key, found in records.items()}


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


def _compare(records: dict[str, list[RunRecord]], dataset: str, model: str) -> Comparison:
    made = {side: [record.done for record in of_side] for side, of_side in records.items()}
    curves = {side: [list(run.validations.values()) for run in of_side] for side, of_side in made.items()}
    scores = {side: [run.test[METRIC] for run in of_side] for side, of_side in made.items()}
    return Comparison(dataset, model, scores, epochs_to_stocks_best(curves), made["stock"][0].epoch_limit)


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
