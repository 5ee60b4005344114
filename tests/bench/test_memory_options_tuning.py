"""The smaller kinds of ``bench``, each on little data: they measure what they say, and their tables show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_ext.bench import memory, options, tuning, utilisation
from recbole_ext.bench.catalogue import catalogue_table, run_catalogue
from recbole_ext.bench.contestants import enter
from recbole_ext.bench.measuring import apart
from recbole_ext.bench.memory import memory_table, run_memory, training_step
from recbole_ext.bench.models import models_table, run_models
from recbole_ext.bench.options import options_table, run_options
from recbole_ext.bench.tuning import run_tuning_contest, tuning_table
from recbole_ext.bench.utilisation import run_utilisation, utilisation_table
from recbole_ext.data.dataset import Dataset
from recbole_ext.runs.trial import lone_run


def test_preparation_and_step_are_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CATALOGUE", {"items": 500, "width": 16, "targets": 64})
    monkeypatch.setattr(memory, "Size", lambda users, length, items: memory_size(users, length))
    result = run_memory(interactions=(2_000, 4_000))
    assert [row["interactions"] for row in result["preparation"]] == [2_000, 4_000]
    assert all(row["peak_memory_mb"] >= row["before_mb"] > 100 for row in result["preparation"])
    assert result["training_step"]["items"] == 500
    assert len(memory_table(result)) == 5


def memory_size(users: int, length: int) -> Any:
    from recbole_ext.bench.scale import Size

    return Size(users=users, length=length, items=100)


@pytest.mark.slow
def test_what_is_above_the_state_grows_with_the_gradient_and_not_with_the_logits() -> None:
    step = apart(training_step, 60_000, 128, 4_096)
    logits = 60_000 * 4_096 * 4 / 2**20
    gradient = 60_000 * 128 * 4 / 2**20
    assert gradient < step["above_mb"] < 0.95 * logits


def test_options_are_timed_in_turns_against_the_path_as_it_is(tiny: Dataset, small: dict[str, Any]) -> None:
    result = run_options(tiny, "SASRec", 2, small)
    assert {"as it is", "enable_amp", "building batches"} <= set(result["medians"]) | set(result["failures"])
    assert "torch.compile" in {**result["medians"], **result["failures"]}
    assert result["medians"]["building batches"] < result["medians"]["as it is"]
    assert any("100%" in line for line in options_table(result))


@pytest.mark.parametrize("samples", ["user", "augmented"])
def test_what_is_compiled_is_the_loss_that_an_epoch_calls(
    tiny: Dataset, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: str
) -> None:
    called: list[Any] = []

    def compiled(function: Any, dynamic: bool) -> Any:
        def call(*args: Any) -> Any:
            called.append(function)
            return function(*args)

        return call

    monkeypatch.setattr("torch.compile", compiled)
    side = enter("recbole-ext", lone_run("SASRec", tiny, {**small, "training_samples": samples}, tmp_path))
    options._compile(side)
    side.train_epoch()
    assert called


def test_models_are_timed_in_turns_and_stand_beside_the_first(tiny: Dataset) -> None:
    result = run_models(tiny, ["SASRec", "HSTU"], 2, {"hidden_size": 16, "train_batch_size": 128})
    assert {len(taken) for taken in result["seconds"].values()} == {2}
    assert result["models"]["HSTU"]["training_samples"] == "user"
    base = result["models"]["SASRec"]["seconds_per_epoch"]
    result["models"]["HSTU"]["seconds_per_epoch"] = 3 * base
    assert [line.split(" | ")[4] for line in models_table(result)[2:]] == ["1.00", "3.00"]


def test_both_ways_tune_on_the_same_sequences_once_in_batches_of_their_own(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, list[np.ndarray]] = {}
    sizes: dict[str, list[int]] = {}
    original = tuning._objective

    def watched(side: str, attributes: Any, settings: Any) -> Any:
        objective = original(side, attributes, settings)
        collate = objective.collate

        def recorded(numbered: list[tuple[int, np.ndarray]]) -> Any:
            read.setdefault(side, []).extend(sequence for _, sequence in numbered)
            sizes.setdefault(side, []).append(len(numbered))
            return collate(numbered)

        objective.collate = recorded  # type: ignore[method-assign]
        return objective

    monkeypatch.setattr(tuning, "_objective", watched)
    assert run_tuning_contest(tiny, 20, 48, 1)["sequences"] == 32, "two batches"
    public, own = (sorted(sequence.tolist() for sequence in read[side]) for side in tuning.SIDES)
    assert public == own and len({str(sequence) for sequence in own}) == 32
    assert set(map(tuple, sizes.values())) == {(16, 16)}


def test_both_ways_of_tuning_read_the_same_tokens(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: dict[str, list[float]] = {}
    original = tuning._objective

    def watched(side: str, attributes: Any, settings: Any) -> Any:
        objective = original(side, attributes, settings)
        forward = objective.forward

        def recorded(**batch: Any) -> Any:
            out = forward(**batch)
            losses.setdefault(side, []).append(float(out["contrast"].detach()))
            return out

        objective.forward = recorded  # type: ignore[method-assign,assignment]
        return objective

    monkeypatch.setattr(tuning, "_objective", watched)
    result = run_tuning_contest(tiny, 12, 48, 1)
    assert set(result["tokens_per_second"]) == {"public way", "recbole-ext"}
    assert all(rate > 0 for side in result["tokens_per_second"].values() for rate in side.values())
    assert len(losses["public way"]) == len(losses["recbole-ext"]) == 1
    assert len(tuning_table(result)) == 4


def test_the_public_ways_step_has_the_same_loss(tiny: Dataset) -> None:
    import torch

    from recbole_ext.tuning.corpus import read_corpus
    from recbole_ext.tuning.settings import RecformerSettings

    settings = RecformerSettings(max_tokens=48, batch_size=8)
    corpus = read_corpus([tiny], settings)
    values = []
    for side in tuning.SIDES:
        objective = tuning._objective(side, corpus.attributes, settings).eval()
        with torch.no_grad():
            values.append(float(objective(**objective.collate(list(enumerate(corpus.sequences[:6]))))["loss"]))
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_a_large_catalogue_is_trained_on_and_ranked_in_a_process_of_its_own() -> None:
    result = run_catalogue(items=200, targets=100, repeats=1)
    assert result["seconds_per_step"] > 0 and result["seconds_per_evaluation"] > 0 and result["peak_memory_mb"] > 100
    assert result["device"].startswith("cpu") == ("peak_device_memory_mb" not in result)
    assert len(catalogue_table(result)) >= 5


def test_tokens_per_second_are_told_as_a_part_of_what_products_reach(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "intermediate_size": 24}
    kinds = {"one": ("bert", shape), "two": ("longformer", {**shape, "attention_window": 8})}
    monkeypatch.setattr(utilisation, "ENCODERS", kinds)
    monkeypatch.setitem(utilisation.PRODUCT, "cpu", 64)
    result = run_utilisation(tiny, sequences=4, max_tokens=32, batch_size=4, repeats=1)
    for of_encoder in result["encoders"].values():
        for kind in ("tuning", "encoding"):
            found = of_encoder[kind]
            assert found["tokens_per_second"] > 0
            rate = found["operations_per_second"] / result["peak_operations_per_second"]
            assert found["part_of_peak"] == pytest.approx(rate)
    assert len(utilisation_table(result)) == 2 + 4
