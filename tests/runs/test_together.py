"""Processes that share a run do what one does: the same losses, weights, ranks and metrics; and they end together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from recbole_ext.benchmark import load_benchmark, resolve
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.records import RunRecord
from recbole_ext.records.ranks import ranks_beside
from recbole_ext.runs.executors import LocalProcesses
from recbole_ext.runs.progress import read_progress

SMALL = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
KEYS: dict[str, Any] = {
    "epochs": 2,
    "train_batch_size": 64,
    "eval_batch_size": 16,
    "topk": [1, 5, 10],
    "metric_decimal_place": 8,
    "use_gpu": False,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
}
NEGATIVES: dict[str, Any] = {
    "loss_type": "BPR",
    "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
    "eval_args": {"mode": "uni10"},
    "clip_grad_norm": {"max_norm": 0.1},
}
PATHS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "user rows": ("user", "SASRec", {"MAX_ITEM_LIST_LENGTH": 10}),
    "masked rows": ("user", "BERT4Rec", {}),
    "RecBole's samples": ("augmented", "SASRec", {"training_samples": "augmented"}),
    "sampled items, clipped gradients": ("user", "SASRec", NEGATIVES),
}


@pytest.fixture
def run_of(described: Callable[..., Path], tmp_path: Path) -> Callable[..., RunSpec]:
    """``run_of(model, **config)``: the run of a benchmark, resolved."""

    def run_of(model: str, **config: Any) -> RunSpec:
        path = described(tmp_path, models={model: SMALL}, config={**KEYS, **config}, keep_checkpoints=True)
        return next(resolve(*load_benchmark(path), "", path.name).specs())

    return run_of


def left_by(spec: RunSpec) -> SimpleNamespace:
    """What a run wrote, in processes of its own as the program has them."""
    with LocalProcesses(1) as executor:
        assert executor.submit(spec, False).result()
    record = RunRecord.read(spec.record_path)
    assert record.status == "done", record.traceback
    weights = torch.load(spec.weights_path, weights_only=True)["state_dict"]
    return SimpleNamespace(made=record.done, weights=weights, ranks=np.load(ranks_beside(spec.record_path)))


@pytest.mark.parametrize("path", PATHS)
def test_two_processes_give_what_one_gives(run_of: Callable[..., RunSpec], path: str) -> None:
    samples, model, keys = PATHS[path]
    one, two = (left_by(run_of(model, **keys, **more)) for more in ({}, {"nproc": 2}))
    assert one.made.training_samples == two.made.training_samples == samples
    assert two.made.device == f"2 × {one.made.device}" and two.made.config["nproc"] == 2
    assert [epoch.train_loss for epoch in two.made.curve] == pytest.approx(
        [epoch.train_loss for epoch in one.made.curve], abs=2e-6
    )
    assert two.weights.keys() == one.weights.keys()
    for name, weight in one.weights.items():
        # The gradient of a key's bias is zero but for rounding, of which Adam makes steps.
        torch.testing.assert_close(two.weights[name], weight, rtol=0, atol=1e-3 if "key.bias" in name else 2e-6)
    assert (two.ranks == one.ranks).all() and len(one.ranks) == 40
    assert two.made.validation == one.made.validation and two.made.test == one.made.test
    assert (two.made.best_epoch, two.made.tied) == (one.made.best_epoch, one.made.tied)


def test_dropout_is_drawn_by_each_process_and_so_the_run_is_another(run_of: Callable[..., RunSpec]) -> None:
    assert run_of("SASRec").identity != run_of("SASRec", nproc=2).identity


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_is_killed_ends_the_run_and_leaves_its_error_alone(
    run_of: Callable[..., RunSpec], number: int
) -> None:
    spec = run_of("SASRec", nproc=2, epochs=100_000, stopping_step=100_000)
    with LocalProcesses(1) as executor:
        run = executor.submit(spec, False)
        while (progress := read_progress(spec.progress_path)) is None or not progress.epoch:
            assert not run.done()
            time.sleep(0.05)
        (process,) = executor._running
        shared = sorted(psutil.Process(process.pid).children(), key=lambda child: child.create_time())
        assert len(shared) == 2
        shared[number].kill()
        assert run.result(timeout=60)
    record = RunRecord.read(spec.record_path)
    assert record.status == "failed" and record.error is not None
    assert record.error.startswith(f"process {number + 1} of 2: its process was killed (signal 9)")
    assert not any(child.is_running() for child in shared)
    assert not list(spec.artifacts.rglob("*.pth"))
    assert [path.name for path in spec.record_path.parent.iterdir()] == [spec.record_path.name]


def test_what_is_wrong_in_one_process_is_said_in_its_words(run_of: Callable[..., RunSpec]) -> None:
    spec = run_of("SASRec", nproc=2)
    # A benchmark refuses it before: the negatives of sce are those nearest to the batch.
    spec = replace(spec, config={**spec.config, "training_loss": "sce"})
    with LocalProcesses(1) as executor:
        assert executor.submit(spec, False).result()
    record = RunRecord.read(spec.record_path)
    assert record.status == "failed" and record.error is not None
    assert record.error.startswith("nproc: the loss of SASRec here is no mean over samples")
    assert record.traceback is not None and "Traceback" in record.traceback
