"""The plan: every step in order, what is missing and how to get it, and estimates that grow as they should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recbole_ext.run.benchmark_file import load_benchmark
from recbole_ext.run.estimates import (
    DatasetSize,
    estimate_encoding,
    estimate_recformer,
    estimate_run,
    estimate_tuning,
)
from recbole_ext.run.plan import plan, plan_lines
from recbole_ext.run.spec import expand

from recbole_ext.tune.settings import TuneSettings
from recbole_ext.writing import write_json

CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "n_layers": 2,
    "inner_size": 256,
    "MAX_ITEM_LIST_LENGTH": 50,
    "train_batch_size": 512,
    "eval_batch_size": 512,
    "epochs": 10,
}
SIZE = DatasetSize(8317, 4344, 58492)
MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "intermediate_size": 1536,
    "vocab_size": 30522,
}
SHORT = TuneSettings(attribute_tokens=8, max_items=6, max_tokens=128, epochs=1)


def test_the_steps_come_in_the_order_of_the_road(described: Callable[..., Path], tmp_path: Path) -> None:
    inits = {"none": {}, "minilm": {"encoder": "minilm"}}
    path = described(tmp_path, initialisations=inits, protocols={"full": {}, "uni5": {"eval_args": {"mode": "uni5"}}})
    assert [step.what for step in plan(load_benchmark(path), "")] == [
        "data tiny",
        "store tiny minilm",
        "run tiny SASRec none full",
        "run tiny SASRec none uni5",
        "run tiny SASRec minilm full",
        "run tiny SASRec minilm uni5",
        "report",
    ]


def test_runs_to_do_are_the_search_and_the_other_seeds_less_those_done(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    search = [{"hidden_dropout_prob": 0.1}, {"hidden_dropout_prob": 0.5}]
    benchmark = load_benchmark(described(tmp_path, search=search, seeds=[1, 2, 3]))
    times = {step.what: step.times for step in plan(benchmark, "")}
    assert times["data tiny"] == 0
    assert times["run tiny SASRec none full"] == 2 + 2
    spec = next(expand(benchmark, ""))
    write_json(spec.record_path, {"status": "done", "fingerprints": {"run": spec.fingerprint}})
    assert {step.what: step.times for step in plan(benchmark, "")}["run tiny SASRec none full"] == 3


def test_what_is_missing_is_named_with_the_way_to_it(described: Callable[..., Path], tmp_path: Path) -> None:
    inits = {
        "hub": {"encoder": "nobody/has-this-model"},
        "tuned": {"encoder": "artifacts/tuned/x", "made_by": "recbole-ext tune {dataset} --out artifacts/tuned/x"},
        "given": {"store": "stores/{dataset}/given"},
    }
    path = described(tmp_path, datasets=["nowhere", "ml-1m"], initialisations=inits)
    text = "\n".join(plan_lines(plan(load_benchmark(path), "")))
    for line in (
        "nowhere/nowhere.inter: convert its source files",
        "ml-1m/ml-1m.inter: `run` downloads it from https://",
        "encoder nobody/has-this-model: needs the network, or a local path",
        "encoder artifacts/tuned/x: recbole-ext tune nowhere --out artifacts/tuned/x",
        "stores/ml-1m/given: no such store",
    ):
        assert line in text
    assert not (tmp_path / "results").exists()


def test_the_paper_s_table_is_planned_without_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(__file__).resolve().parents[2]
    for preset, protocol in (("paper.yaml", "full"), ("paper-sampled.yaml", "uni100")):
        overrides = {"dataset_configs": str(checkout / "dataset_configs"), "results": str(tmp_path)}
        benchmark = load_benchmark(Path(preset), {**overrides, "data_path": str(tmp_path)})
        steps = {step.what: step for step in plan(benchmark, "")}
        for dataset in ("Arts", "Instruments", "Pantry", "Sports", "Movies"):
            assert steps[f"data {dataset}"].missing
            for model in ("SASRec", "BERT4Rec"):
                for init in ("none", "longformer", "pretrain", "finetune"):
                    step = steps[f"run {dataset} {model} {init} {protocol}"]
                    assert step.times == 2 and step.estimate is not None and step.estimate.operations > 1e12
        text = "\n".join(plan_lines(list(steps.values())))
        assert "recbole-ext tune amazon-automotive-18" in text
        assert "Amazon_Prime_Pantry.zip" in text


@pytest.mark.parametrize(
    ("changed", "factor"),
    [({"epochs": 20}, 2.0), ({"hidden_size": 128, "inner_size": 512}, 2.0), ({"n_layers": 4}, 1.05)],
)
def test_larger_runs_take_longer(changed: dict[str, Any], factor: float) -> None:
    small, large = estimate_run(CONFIG, SIZE), estimate_run({**CONFIG, **changed}, SIZE)
    assert large.operations >= factor * small.operations
    assert large.memory_mb >= small.memory_mb


def test_a_larger_catalogue_takes_more_time_and_memory() -> None:
    small, large = (estimate_run(CONFIG, DatasetSize(8317, items, 58492)) for items in (4344, 434_400))
    assert large.operations > 10 * small.operations
    assert large.memory_mb > small.memory_mb + 16 * 430_000 * 64 / 2**20


def test_the_estimate_is_near_what_was_measured() -> None:
    # 2.5 seconds an epoch on two CPU cores, whose matrix products ran at some 80 billion operations a second.
    epoch = estimate_run({**CONFIG, "epochs": 1}, SIZE).seconds(80e9)
    assert 1 < epoch < 6


def test_encoding_grows_with_items_and_tokens() -> None:
    base = estimate_encoding(MINILM, 1000, None)
    assert estimate_encoding(MINILM, 2000, None).operations == 2 * base.operations
    assert estimate_encoding(MINILM, 1000, 16).operations < base.operations
    gpt2 = {"n_embd": 384, "n_layer": 6, "vocab_size": 30522}
    assert estimate_encoding(gpt2, 1000, None) == base


def test_the_estimate_of_a_tuning_is_near_what_was_measured() -> None:
    # Scientific, 25 to 28 seconds for one of 123 steps on one CPU core, in 4 to 5 GB.
    estimate = estimate_tuning(MINILM, [SIZE], SHORT)
    assert 0.5 < estimate.seconds(80e9) / (123 * 26) < 2 and 3000 < estimate.memory_mb < 6000


@pytest.mark.parametrize(
    ("changed", "factor"),
    [({"epochs": 3}, 3.0), ({"sequences": 0.1}, 0.1), ({"objective": "contrast"}, 0.5), ({"max_items": 3}, 98 / 146)],
)
def test_a_tuning_costs_what_its_settings_ask_for(changed: dict[str, Any], factor: float) -> None:
    base, other = (estimate_tuning(MINILM, [SIZE], SHORT.model_copy(update=c)) for c in ({}, changed))
    assert other.operations / base.operations == pytest.approx(factor, rel=0.1)
    assert estimate_tuning(MINILM, [SIZE, SIZE], SHORT).operations == 2 * base.operations


def test_recformer_costs_its_epochs_and_reads_as_its_encoder_was_tuned_to() -> None:
    config = {"stage_one_epochs": 2, "stage_two_epochs": 1}
    short, long = (estimate_recformer(MINILM, SIZE, config, tuned) for tuned in (SHORT, None))
    assert short.operations < long.operations and short.memory_mb == long.memory_mb
    assert estimate_recformer(MINILM, SIZE, {**config, "max_tokens": 128, "attribute_tokens": 8}, None) == short
    twice = estimate_recformer(MINILM, SIZE, {"stage_one_epochs": 4, "stage_two_epochs": 2}, SHORT)
    assert twice.operations == 2 * short.operations


def test_every_step_that_tunes_or_reads_text_has_an_estimate(atomic_folder: Path, tmp_path: Path) -> None:
    short = {"sources": ["tiny"], "max_tokens": 32, "epochs": 1}
    keys = {
        "name": "tuned",
        "datasets": ["tiny"],
        "models": {"RECFORMER": {}, "SASRec": {}},
        "initialisations": {
            "pretrain": {"encoder": "minilm", "tune": short},
            "shallow": {"encoder": "minilm", "tune": {**short, "layers": 2}},
            "finetune": {"finetune": "pretrain"},
        },
        "data_path": str(atomic_folder),
        "results": str(tmp_path),
        "artifacts": str(tmp_path),
    }
    (tmp_path / "tuned.yaml").write_text(json.dumps(keys), encoding="utf-8")
    steps = {step.what: step.estimate for step in plan(load_benchmark(tmp_path / "tuned.yaml"), "")}
    assert all(estimate is not None for what, estimate in steps.items() if not what.startswith("data"))
    deep, shallow = (steps[f"tune tuned-{name}-tiny"] for name in ("pretrain", "shallow"))
    assert deep and shallow and 2 < deep.operations / shallow.operations < 3.1


def test_the_plan_counts_the_parts_that_recformers_trainer_makes() -> None:
    from recbole_ext.run.estimates import TOKENS_OF_A_STEP

    from recbole_ext.recformer.trainer import TOKENS_PER_PART

    assert TOKENS_OF_A_STEP == TOKENS_PER_PART
