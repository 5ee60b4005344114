"""What runs are estimated to cost grows as it should, and is near to what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark.run_estimate import AUGMENTED, PREFIX, estimate_run
from recbole_ext.data.dataset import Size
from recbole_ext.estimate import Transformer
from recbole_ext.models.recformer_estimate import TOKENS_OF_A_STEP, estimate_recformer
from recbole_ext.tuning.settings import RecformerSettings

CHECKOUT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "n_layers": 2,
    "inner_size": 256,
    "MAX_ITEM_LIST_LENGTH": 50,
    "train_batch_size": 512,
    "eval_batch_size": 512,
    "epochs": 10,
}
SCIENTIFIC = Size(8317, 4344, 58492)
ML_100K = Size(943, 1682, 100_000)
QUIET_CORE = 105e9
"""Operations per second of the core on which the numbers below were measured, in processor seconds."""
MINILM = Transformer(width=384, layers=6, inner=1536, vocabulary=30522)


@pytest.mark.parametrize(
    ("changed", "factor"),
    [({"epochs": 20}, 2.0), ({"hidden_size": 128, "inner_size": 512}, 2.0), ({"n_layers": 4}, 1.05)],
)
def test_larger_runs_take_longer(changed: dict[str, Any], factor: float) -> None:
    small, large = estimate_run(CONFIG, SCIENTIFIC), estimate_run({**CONFIG, **changed}, SCIENTIFIC)
    assert large.operations >= factor * small.operations
    assert large.memory_mb >= small.memory_mb and large.fixed >= small.fixed


def test_a_larger_catalogue_takes_more_time_and_memory() -> None:
    small, large = (estimate_run(CONFIG, Size(8317, items, 58492)) for items in (4344, 434_400))
    assert large.operations > 10 * small.operations
    assert large.memory_mb > small.memory_mb + 16 * 430_000 * 64 / 2**20


def test_a_run_that_stops_early_is_counted_so() -> None:
    long, longer = (estimate_run({**CONFIG, "epochs": n, "stopping_step": 10}, SCIENTIFIC) for n in (300, 3000))
    assert long == longer
    assert long.operations < estimate_run({**CONFIG, "epochs": 300}, SCIENTIFIC).operations


def test_other_samples_and_losses_cost_what_they_read() -> None:
    def operations(size: Size = SCIENTIFIC, **changed: Any) -> float:
        return estimate_run({**CONFIG, **changed}, size).operations

    rows = operations()
    assert operations(training_samples="prefix") > rows
    assert operations(training_samples="augmented") > 3 * rows
    assert operations(**MASKED) > 1.5 * rows
    assert operations(training_loss="bce", training_negatives=1) < rows / 2
    sampled: dict[str, Any] = {"training_loss": "sampled_softmax", "training_negatives": 300}
    assert operations(**sampled) == rows, "all scores are computed, and some of them taken"
    assert operations(**sampled, training_negatives_shared=True) < rows / 2
    assert operations(ML_100K, window_stride=1) > 5 * operations(ML_100K, window_stride=25)


def test_a_model_is_counted_with_the_samples_that_it_is_trained_on() -> None:
    def operations(model: str, **changed: Any) -> float:
        return estimate_run({**CONFIG, "model": model, **changed}, SCIENTIFIC).operations

    rows = operations("SASRec", training_samples="auto")
    assert operations("NARM", training_samples="auto") == operations("SASRec", training_samples="prefix") > rows
    padded = operations("SASRec", training_samples="augmented")
    assert operations("STAMP") == padded > 3 * rows
    assert operations("S3Rec", mask_ratio=0.2) == padded, "its masks are those of its pre-training"
    assert operations("LightSANs", training_samples="user") == rows


def test_the_models_of_each_kind_of_samples_are_those_that_were_found() -> None:
    found = json.loads((CHECKOUT / "results" / "models.json").read_text(encoding="utf-8"))
    for samples, named in (("augmented", AUGMENTED), ("prefix", PREFIX)):
        assert {row["model"] for row in found if row["kind"] == "sequential" and row["samples"] == samples} == {*named}


def test_a_pre_training_is_counted_without_evaluations() -> None:
    def estimate(stage: str, epochs: int) -> Any:
        return estimate_run({**CONFIG, "train_stage": stage, "pretrain_epochs": epochs}, SCIENTIFIC)

    plain, once, twice = estimate("finetune", 10), estimate("pretrain", 10), estimate("actor_pretrain", 10)
    assert plain.operations < once.operations < 2 * plain.operations and once.fixed > plain.fixed
    assert twice == estimate("pretrain", 20)


MASKED: dict[str, Any] = {"mask_ratio": 0.2, "transform": "mask_itemseq"}
MEASURED: list[tuple[str, dict[str, Any], Size, float]] = [
    ("SASRec, ml-100k", {"epochs": 12, "window_stride": 25}, ML_100K, 64),
    ("BERT4Rec, ml-100k", {"epochs": 12, "window_stride": 25, **MASKED}, ML_100K, 156),
]
"""Processor seconds of whole runs, one thread, as `embedded.yaml` has them."""


@pytest.mark.parametrize(
    ("changed", "size", "seconds"), [row[1:] for row in MEASURED], ids=[row[0] for row in MEASURED]
)
def test_the_estimate_is_within_a_factor_of_two_of_what_was_measured(
    changed: dict[str, Any], size: Size, seconds: float
) -> None:
    assert 0.5 < estimate_run({**CONFIG, **changed}, size).seconds(QUIET_CORE) / seconds < 2


def test_recformer_costs_its_epochs_and_reads_as_its_encoder_was_tuned_to() -> None:
    short = RecformerSettings(attribute_tokens=8, max_items=6, max_tokens=128)
    config = {"stage_one_epochs": 2, "stage_two_epochs": 1}
    tuned, plain = (estimate_recformer(MINILM, SCIENTIFIC, config, settings) for settings in (short, None))
    assert tuned.operations < plain.operations and tuned.memory_mb == plain.memory_mb
    assert estimate_recformer(MINILM, SCIENTIFIC, {**config, "max_tokens": 128, "attribute_tokens": 8}) == tuned
    twice = estimate_recformer(MINILM, SCIENTIFIC, {"stage_one_epochs": 4, "stage_two_epochs": 2}, short)
    assert twice.operations == 2 * tuned.operations


def test_the_plan_counts_the_parts_that_recformers_trainer_makes() -> None:
    from recbole_ext.models.recformer_trainer import TOKENS_PER_PART

    assert TOKENS_OF_A_STEP == TOKENS_PER_PART
