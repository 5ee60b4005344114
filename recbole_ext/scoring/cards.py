"""From a suite's results to a card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recbole_ext.benchmark.resolved import Resolved, ResolvedRow
from recbole_ext.benchmark.suite import Suite
from recbole_ext.data.config import about_data
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.hashing import sha256_of
from recbole_ext.machine import git_revision, shared, versions, without_home
from recbole_ext.records import RowKey
from recbole_ext.records.card import (
    Card,
    Cost,
    Gain,
    Geometry,
    OnDataset,
    Score,
    SuiteVersion,
    Unseen,
    rounded,
)
from recbole_ext.records.popularity import read_interactions
from recbole_ext.report.popularity import by_popularity
from recbole_ext.report.results import Result, finished_results_of
from recbole_ext.report.significance import Difference, mean_gain, mean_of_independent
from recbole_ext.runs.grid import grid_of
from recbole_ext.scoring.geometry import geometry_of
from recbole_ext.scoring.tuned import tunings_of
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.vectors import VectorSource

UNSEEN = "unseen"
"""The group of test items that nobody took in training; see :mod:`recbole_ext.report.popularity`."""


def card_of(resolved: Resolved, suite: Suite, name: str, source: Mapping[str, Any]) -> Card:
    """The card of the initialisation ``name``, whose runs have all ended.

    Raises:
        ConfigurationError: a run is missing or has failed, or random vectors score zero; says which and where.
    """
    folder = resolved.benchmark.folder
    grid = grid_of(resolved)
    results = {result.key: result for result in finished_results_of(folder, grid)}
    _refuse_missing(results.values())
    ours = [result for key, result in results.items() if key.variant == name]
    of = next(row.variant.source for row in resolved.rows if row.key.variant == name)
    pairs = {result.key: _baseline(result, results) for result in ours}
    unseen = by_popularity([*results.values()], [grid.metric], folder).rows
    scores = [_score(result, pairs[result.key], grid.metric, folder, unseen) for result in ours]
    _refuse_zero(scores, grid.metric)
    of_trained = dict.fromkeys(key.dataset for key, baseline in pairs.items() if baseline is not None)
    parts = [_OfDataset(dataset, ours, pairs, grid.metric, folder) for dataset in of_trained]
    trained = [score for score in scores if score.gain is not None]
    records = [record for result in results.values() for record in result.runs]
    return Card(
        name=name,
        kind=of.kind if of else name,
        vectors=without_home(of.in_words()) if of else "random",
        source=shared(source),
        suite=SuiteVersion(name=suite.name, version=suite.version, sha256=suite.sha256),
        metric=grid.metric,
        score=rounded(_mean(score.score for score in trained)),
        gain=mean_over_datasets([part.gain for part in parts], scores, of.tuning_seeds() if of else 1),
        scores=scores,
        datasets=[part.on_dataset(resolved, of, scores) for part in parts],
        tuning=tunings_of(of, [part.dataset_of(resolved) for part in parts], resolved.benchmark.artifacts),
        note=grid.note,
        command=without_home(resolved.command),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        git_revision=git_revision(),
        versions=versions(),
        devices=sorted({record.done.device for record in records}),
    )


def mean_over_datasets(gains: Sequence[Difference | str], scores: Sequence[Score], tuning_seeds: int) -> Gain:
    """The mean of the datasets' gains; its interval where each has one and they are independent of each other.

    Several tunings of one encoder are draws that the datasets share, so that their variances don't add up.
    """
    known = [gain for gain in gains if isinstance(gain, Difference)]
    independent = tuning_seeds == 1 or len(gains) == 1
    return _gain(mean_of_independent(known)) if independent and len(known) == len(gains) else _gain_alone(scores)


class _OfDataset:
    """The rows of one dataset, and their mean gain."""

    def __init__(
        self,
        dataset: str,
        ours: Sequence[Result],
        pairs: Mapping[RowKey, Result | None],
        metric: str,
        folder: Path,
    ) -> None:
        self.dataset = dataset
        self.results = [result for result in ours if result.key.dataset == dataset]
        compared = [(result, base) for result in self.results if (base := pairs[result.key]) and base is not result]
        self.gain = mean_gain(compared, metric, folder) if compared else "random vectors"

    def dataset_of(self, resolved: Resolved) -> Dataset:
        """The dataset under the keys of its rows."""
        return resolved.datasets[self.dataset].with_keys(self._row(resolved).effective)

    def _row(self, resolved: Resolved) -> ResolvedRow:
        return next(row for row in resolved.rows if row.key == self.results[0].key)

    def _stores(self) -> list[str]:
        """The fingerprints of the vectors that its runs read."""
        read = (record.fingerprints.vectors for result in self.results for record in result.runs)
        return [fingerprint for fingerprint in dict.fromkeys(read) if fingerprint is not None]

    def on_dataset(self, resolved: Resolved, source: VectorSource | None, scores: Sequence[Score]) -> OnDataset:
        trained = [score for score in scores if score.dataset == self.dataset and score.gain is not None]
        made = self.results[0].runs[0].done
        row, dataset = self._row(resolved), self.dataset_of(resolved)
        cost = source.cost(dataset, resolved.benchmark.artifacts) if source else None
        return OnDataset(
            dataset=self.dataset,
            fingerprint=row.searched[0].dataset_fingerprint,
            described_by=sha256_of([about_data(dataset.recbole_keys), dataset.keys.get("item_text")]),
            users=made.statistics.users,
            items=made.statistics.items,
            covered=made.coverage.covered if made.coverage else None,
            score=rounded(_mean(score.score for score in trained)),
            gain=_gain(self.gain) if isinstance(self.gain, Difference) else _gain_alone(trained),
            vectors=_geometry(row.searched[0].store, dataset),
            stores=self._stores(),
            cost=Cost(
                milliseconds_per_item=rounded(cost.milliseconds_per_item),
                peak_memory_mb=cost.peak_memory_mb,
                parameters=cost.parameters,
                device=cost.device,
            )
            if cost
            else None,
        )


def _score(
    result: Result,
    baseline: Result | None,
    metric: str,
    folder: Path,
    unseen: Mapping[RowKey, Mapping[str, float]],
) -> Score:
    score = _mean(record.done.test[metric] for record in result.runs)
    base = _mean(record.done.test[metric] for record in baseline.runs) if baseline else None
    gain = None
    if baseline is result:
        gain = Gain(mean=0.0)
    elif baseline is not None and base:
        tested = mean_gain([(result, baseline)], metric, folder)
        gain = _gain(tested) if isinstance(tested, Difference) else Gain(mean=rounded(100 * (score / base - 1)))
    chosen = result.chosen
    return Score(
        dataset=result.key.dataset,
        model=result.key.model,
        score=rounded(score),
        random=rounded(base) if base is not None else None,
        gain=gain,
        unseen=_unseen(result, baseline, metric, folder, unseen),
        seeds=len(result.runs),
        runs=[record.run for record in result.runs],
        trials=len(result.search),
        chosen=chosen.trial if chosen else {},
        at_limit=result.at_limit + (baseline.at_limit if baseline and baseline is not result else 0),
    )


def _unseen(
    result: Result,
    baseline: Result | None,
    metric: str,
    folder: Path,
    means: Mapping[RowKey, Mapping[str, float]],
) -> Unseen | None:
    interactions = read_interactions(folder, result.runs[0])
    score = means.get(result.key, {}).get(f"{metric}_{UNSEEN}", math.nan)
    if interactions is None or math.isnan(score):
        return None
    base = means.get(baseline.key, {}).get(f"{metric}_{UNSEEN}", math.nan) if baseline else math.nan
    return Unseen(
        users=int((interactions.test_interactions == 0).sum()),
        score=rounded(score),
        random=None if math.isnan(base) else rounded(base),
    )


def _geometry(store: Path | None, dataset: Dataset) -> Geometry | None:
    if store is None:
        return None
    vectors = ItemEmbeddingStore.load(store)
    return geometry_of(vectors.embeddings, vectors.items, dataset.training_histories())


def _baseline(result: Result, results: Mapping[RowKey, Result]) -> Result | None:
    """The row of random vectors that it is compared with: itself, where these are what is scored."""
    if result.row.is_random:
        return result
    return results.get(result.key._replace(variant=result.row.baseline)) if result.row.baseline else None


def _refuse_missing(results: Iterable[Result]) -> None:
    lacking = [f"{result.key}: {result.state}" for result in results if result.state]
    if lacking:
        raise ConfigurationError(
            "no card, for not all of the suite's runs have ended well:\n"
            + "\n".join(f"  - {line}" for line in lacking)
            + "\nPut that right and repeat the command: what is finished is kept."
        )


def _refuse_zero(scores: Iterable[Score], metric: str) -> None:
    """See that each dataset with a trained recommender has a gain: there is none in per cent over nothing."""
    compared = {score.dataset for score in scores if score.random is not None}
    for dataset in sorted(compared - {score.dataset for score in scores if score.gain is not None}):
        raise ConfigurationError(
            f"no card: on {dataset} random vectors score 0 in {metric}, so that there is no gain in per cent. Give the "
            "suite a dataset with more test users, or a `valid_metric` with a larger K."
        )


def _gain(difference: Difference) -> Gain:
    low, high = difference.interval
    return Gain(mean=rounded(100 * difference.mean), low=rounded(100 * low), high=rounded(100 * high))


def _gain_alone(scores: Sequence[Score]) -> Gain:
    """Of rows without a test: fewer than three seeds, random vectors themselves, datasets that share tunings."""
    return Gain(mean=rounded(_mean(score.gain.mean for score in scores if score.gain is not None)))


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)
