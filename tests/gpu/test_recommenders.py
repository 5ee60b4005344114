"""Recommenders on a GPU: trained on every path, with vectors in every mode, evaluated, and recorded.

Tolerances: a loss differs by at most 1e-4 of itself, a parameter after two batches by 1e-3 of itself or 2e-4; a metric
over 40 users by 0.005, for two scores that are all but equal may change places.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from on_devices import MODES, NO_DROPOUT, PATHS, SAMPLED, WHOLE

from recbole_ext.attach import attach_item_embedding
from recbole_ext.data.dataset import Dataset
from recbole_ext.runs.single import run_once
from recbole_ext.runs.trial import lone_run
from recbole_ext.training import build_trainer, choose_samples

pytestmark = pytest.mark.gpu

Build = Callable[..., SimpleNamespace]
StoreOf = Callable[..., Path]
CPU = torch.device("cpu")
EPOCHS = {"train_batch_size": 256, "n_layers": 1, **NO_DROPOUT}


def trained(built: SimpleNamespace, batches: int = 2) -> tuple[Any, dict[str, torch.Tensor]]:
    """The loss of an epoch of a few batches, and the parameters after it, on the CPU."""
    torch.manual_seed(3)
    if built.config["item_embedding"]:
        attach_item_embedding(built.model, built.loaders.train._dataset, built.config)
    samples = choose_samples(built.config, built.model, built.loaders)
    trainer = build_trainer(built.config, built.model, built.checkpoint, samples.loss_of_rows)
    random.seed(4)
    np.random.seed(4)
    some = list(islice(samples.loader, batches))
    torch.manual_seed(5)
    loss = trainer._train_epoch(some, 0)
    built.trainer, built.batches = trainer, some
    return loss, {name: value.detach().cpu() for name, value in built.model.named_parameters()}


def begun_alike(one: SimpleNamespace, other: SimpleNamespace) -> None:
    other.model.load_state_dict(one.model.state_dict())


def assert_trained_alike(build_on: Build, device: torch.device, model: str, settings: dict[str, Any]) -> None:
    on_cpu, on_device = (build_on(where, model, **{**EPOCHS, **settings}) for where in (CPU, device))
    begun_alike(on_cpu, on_device)
    (expected, values), (loss, found) = trained(on_cpu), trained(on_device)
    assert next(on_device.model.parameters()).device.type == device.type
    assert loss == pytest.approx(expected, rel=1e-4)
    for name, value in values.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.usefixtures("draws_of_the_cpu")
@pytest.mark.parametrize("path", PATHS)
def test_a_model_learns_what_it_learns_on_the_cpu(build_on: Build, device: torch.device, path: str) -> None:
    model, settings = PATHS[path]
    assert_trained_alike(build_on, device, model, settings)


@pytest.mark.usefixtures("draws_of_the_cpu")
@pytest.mark.parametrize("mode", MODES)
def test_vectors_in_every_mode_learn_what_they_learn_on_the_cpu(
    build_on: Build, device: torch.device, store_of: StoreOf, tmp_path: Path, mode: str
) -> None:
    model, settings = MODES[mode]
    store = store_of([f"i{item}" for item in range(60)], tmp_path / "store")
    assert_trained_alike(build_on, device, model, {**settings, "item_embedding": str(store)})


@pytest.mark.parametrize("path", ["user rows", "masked rows", "prefixes", "augmented", "augmented, general"])
def test_an_epoch_waits_for_the_device_at_its_end_alone(build_on: Build, device: torch.device, path: str) -> None:
    model, settings = PATHS[path]
    built = build_on(device, model, **{**EPOCHS, **settings})
    trained(built)
    if device.type != "cuda":
        return
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            built.trainer._train_epoch(built.batches, 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{w.filename}:{w.lineno}: {w.message}" for w in noticed if "synchroniz" in str(w.message)]
    own = [place for place in places if "recbole_ext" in place]  # torch's own backward passes may wait, too
    assert all("losses_of_epoch.py" in place for place in own), own


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "GRU4Rec", "BPR", "NearestNeighbour", "LastItem"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"eval_args": {**WHOLE, "mode": "uni10"}},
        {"rank_seen_items": False},
        {"training_samples": "augmented"},
        {"training_samples": "augmented", "eval_args": {**WHOLE, "mode": "uni10"}},
    ],
    ids=["full", "sampled", "unseen", "RecBole's full", "RecBole's sampled"],
)
def test_metrics_are_those_of_the_cpu(
    build_on: Build, device: torch.device, store_of: StoreOf, tmp_path: Path, model: str, settings: dict[str, Any]
) -> None:
    keys = {"eval_batch_size": 16, **settings, **(SAMPLED if model == "BPR" else {})}
    if model == "NearestNeighbour":
        keys["item_embedding"] = str(store_of([f"i{item}" for item in range(60)], tmp_path / "store"))
    both = [build_on(where, model, **{**EPOCHS, **keys}) for where in (CPU, device)]
    begun_alike(*both)
    metrics = []
    for built in both:
        choose_samples(built.config, built.model, built.loaders)
        trainer = build_trainer(built.config, built.model, built.checkpoint)
        np.random.seed(6)
        metrics.append(trainer.evaluate(built.loaders.test, load_best_model=False))
    assert metrics[1] == pytest.approx(metrics[0], abs=0.005)


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_a_run_records_the_device_and_its_peak_memory(
    atomic_folder: Path, device: torch.device, tmp_path: Path, model: str
) -> None:
    keys = {"hidden_size": 16, "inner_size": 16, "epochs": 2, "gpu_id": "0" if device.type == "cuda" else ""}
    made = run_once(lone_run(model, Dataset.named("tiny", atomic_folder), keys, tmp_path)).done
    assert (made.peak_device_memory_mb is not None) == (device.type == "cuda")
    assert made.device.startswith("cpu") == (device.type == "cpu")
    assert made.peak_device_memory_mb is None or 1 < made.peak_device_memory_mb < 4096


def test_mixed_precision_trains(build_on: Build, device: torch.device) -> None:
    built = build_on(device, "SASRec", **EPOCHS, enable_amp=True)
    loss, values = trained(built)
    assert np.isfinite(loss) and all(value.isfinite().all() for value in values.values())
