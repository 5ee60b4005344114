"""Every baseline runs by name: one epoch on the made-up dataset, a record with finite metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved, RunSpec
from recbole_ext.benchmark.keys import keys_of
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import OWN_MODELS
from recbole_ext.records.record import Made, RunRecord
from recbole_ext.runs.single import run_once

ITEMS = [f"i{item}" for item in range(60)]
SMALL = {"hidden_size": 16, "inner_size": 32, "embedding_size": 16}
WITH_TITLE = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}}

# What a model needs beyond its name: a field of the .item file, or a store.
NEEDS: dict[str, dict[str, Any]] = {
    "Pop": {},
    "BPR": {},
    "ItemKNN": {},
    "GRU4Rec": {},
    "NARM": {},
    "SASRec": {},
    "BERT4Rec": {},
    "ESASRec": {},
    "GSASRec": {},
    "HSTU": {},
    "LightSANs": {},
    "CORE": {},
    "FEARec": {},
    "SASRecF": {"selected_features": ["title"], **WITH_TITLE},
    "FDSA": {"selected_features": ["title"], **WITH_TITLE},
    "S3Rec": {"item_attribute": "title", "pretrain_epochs": 1, **WITH_TITLE},
    "LastItem": {},
    "RecentPop": {},
    "TransitionGraph": {},
    "NearestNeighbour": {},
    "AlphaFuse": {"null_dim": 4},
    **{name: {} for name in ("UniSRec", "UniSRecID", "WhitenRec", "ZESRec")},
}
TRIED_ELSEWHERE = ("KSR", "NeuMF", "RaCT")  # of RecBole, by tests/training, tests/compat and the survey
ON_VECTORS = [name for name, own in OWN_MODELS.items() if own.needs_item_vectors]


@pytest.fixture
def runs(
    resolved: Callable[..., Resolved], store_of: Callable[..., Path], tmp_path: Path
) -> Callable[..., list[RunSpec]]:
    """``runs(model, **keys)``: the runs of a model in a benchmark of a random and a store's initialisation."""

    def runs(model: str, **keys: Any) -> list[RunSpec]:
        path = store_of(ITEMS, tmp_path / "store")
        small = {key: value for key, value in SMALL.items() if key in keys_of(model).types}
        found = resolved(
            models={model: {**small, **keys}},
            initialisations={"random": {}, "vectors": {"store": str(path)}},
            config={"epochs": 1, "topk": [5, 10], "show_progress": False, "use_gpu": False},
        )
        return list(found.specs())

    return runs


def assert_recorded(spec: RunSpec) -> Made:
    run_once(spec)
    made = RunRecord.read(spec.record_path).done
    metrics = [*made.test.values(), *made.validation.values()]
    assert len(made.curve) == 1
    assert len(metrics) == 12 and all(math.isfinite(value) and 0 <= value <= 1 for value in metrics)
    return made


def test_every_own_model_is_among_them() -> None:
    own = {name for name, model in OWN_MODELS.items() if not model.reads_text}  # those are tested in tests/recformer
    assert own <= {*NEEDS, *TRIED_ELSEWHERE}


@pytest.mark.parametrize("model", NEEDS)
def test_one_epoch_leaves_a_record_with_finite_metrics(runs: Callable[..., list[RunSpec]], model: str) -> None:
    spec = next(iter(runs(model, **NEEDS[model])))
    made = assert_recorded(spec)
    assert (spec.variant, spec.mode) == (("vectors" if model in ON_VECTORS else "random"), "-")
    assert (made.coverage is not None) is (model in ON_VECTORS)


@pytest.mark.parametrize("features", [["item_embedding"], ["title", "item_embedding"]], ids=["alone", "beside a field"])
@pytest.mark.parametrize("model", ["SASRecF", "FDSA"])
def test_a_store_as_an_item_feature(runs: Callable[..., list[RunSpec]], model: str, features: list[str]) -> None:
    (spec,) = runs(model, selected_features=features, **WITH_TITLE)
    assert (spec.variant, spec.mode) == ("vectors", "-")
    coverage = assert_recorded(spec).coverage
    assert coverage is not None and coverage.covered == 60


@pytest.mark.parametrize("model", ON_VECTORS)
def test_sampled_ranking_works_too(runs: Callable[..., list[RunSpec]], model: str) -> None:
    (spec,) = runs(model, **NEEDS[model], eval_args={"mode": "uni5"})
    assert_recorded(spec)


@pytest.mark.parametrize("model", ["SASRec", "UniSRec"])
def test_a_model_made_of_vectors_has_no_random_initialisation(runs: Callable[..., list[RunSpec]], model: str) -> None:
    found = [(spec.variant, spec.mode) for spec in runs(model)]
    assert found == ([("vectors", "-")] if model == "UniSRec" else [("random", "-"), ("vectors", "full")])


def test_a_model_made_of_vectors_without_any_is_told_so(resolved: Callable[..., Resolved]) -> None:
    with pytest.raises(ConfigurationError, match=r"models\.UniSRec: it is made of item vectors"):
        resolved(models=["UniSRec"])


def test_popularity_counts_interactions_alone(runs: Callable[..., list[RunSpec]]) -> None:
    """RecBole's Pop would count its sampled negatives too."""
    from recbole_ext.runs.single import build_config

    config = build_config(next(iter(runs("Pop"))))
    assert config["train_neg_sample_args"]["distribution"] == "none"
