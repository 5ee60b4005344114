"""On a GPU the host runs ahead: within a batch nothing waits for the device, and nothing mixes the two devices.

Seen with a GPU that is none (``tests/stand_in_gpu.py``), on which all paths give the CPU's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made_up_corpus import CORPUS, DECODERS, SEQUENCES, numbered
from on_devices import MODES, NO_DROPOUT, OBJECTIVE_OPTIONS, PATHS, SAMPLED, WHOLE
from stand_in_gpu import CUDA, numbers_of, put, stand_in_gpu

from recbole_ext.attach import attach_item_embedding
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.moving import moved
from recbole_ext.recformer.encoder import load_behaviour_encoder
from recbole_ext.recformer.item_tokens import ItemTokens
from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.tuning.objectives import OBJECTIVES, objective_class

Build = Callable[..., SimpleNamespace]
StoreOf = Callable[..., Path]

ELSEWHERE = "/site-packages/"
"""Code of others, such as transformers, which asks every mask whether it is needed."""


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("recbole_ext.capacity.device_memory", lambda device: 2**34)
    yield


def ready(build: Build, model: str, settings: dict[str, Any]) -> SimpleNamespace:
    """A model with all that it takes to train and evaluate, and the values that it begins with."""
    built = build(model, **{"train_batch_size": 256, "n_layers": 1, **NO_DROPOUT, **settings})
    if settings.get("item_embedding"):
        attach_item_embedding(built.model, built.loaders.train._dataset, built.config)
    torch.manual_seed(3)
    built.samples = choose_samples(built.config, built.model, built.loaders)
    built.begin = {name: value.clone() for name, value in built.model.state_dict().items()}
    return built


def trainer_of(built: SimpleNamespace, on_gpu: bool) -> Any:
    """A trainer of the model as it was when it was ready, on the stand-in or not."""
    built.model.load_state_dict(built.begin)
    if on_gpu:
        put(built.model)
        built.config["device"] = built.model.device = CUDA
    return build_trainer(built.config, built.model, built.checkpoint, built.samples.loss_of_rows)


def trained(build: Build, model: str, settings: dict[str, Any]) -> None:
    """Assert that an epoch waits as often as one of one batch, and that it learns what it learns on the CPU."""
    built = ready(build, model, settings)
    np.random.seed(4)
    batches = list(islice(built.samples.loader, 2))
    assert len(batches) == 2
    torch.manual_seed(5)
    expected = trainer_of(built, on_gpu=False)._train_epoch(batches, 0)
    values = {name: value.clone() for name, value in numbers_of(built.model).items()}
    trainer = trainer_of(built, on_gpu=True)
    with stand_in_gpu() as waits:
        torch.manual_seed(5)
        loss = trainer._train_epoch(batches, 0)
    own = [wait for wait in waits if ELSEWHERE not in wait]
    assert all("losses_of_epoch.py" in wait for wait in own) and len(own) == 2, waits
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, value in numbers_of(built.model).items():
        torch.testing.assert_close(value, values[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("path", PATHS)
def test_training_waits_once_an_epoch(build: Build, path: str) -> None:
    trained(build, *PATHS[path])


@pytest.mark.parametrize("mode", MODES)
def test_training_from_vectors_waits_once_an_epoch(build: Build, store_of: StoreOf, tmp_path: Path, mode: str) -> None:
    model, settings = MODES[mode]
    store = store_of([f"i{item}" for item in range(60)], tmp_path / "store")
    trained(build, model, {**settings, "item_embedding": str(store)})


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "BPR"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"eval_args": {**WHOLE, "mode": "uni10"}}, {"rank_seen_items": False}],
    ids=["full ranking", "sampled ranking", "unseen items"],
)
def test_evaluation_reads_the_device_once_at_its_end(build: Build, model: str, settings: dict[str, Any]) -> None:
    if model == "BPR" and settings.get("eval_args"):
        pytest.skip("general models are ranked among samples by RecBole's own loader")
    settings = {"eval_batch_size": 8, **settings, **(SAMPLED if model == "BPR" else {})}
    built = ready(build, model, settings)
    trainer = trainer_of(built, on_gpu=False)
    np.random.seed(6)
    expected = trainer.evaluate(built.loaders.test, load_best_model=False)
    tied = trainer.tied_targets
    trainer = trainer_of(built, on_gpu=True)
    with stand_in_gpu() as waits:
        np.random.seed(6)
        metrics = trainer.evaluate(built.loaders.test, load_best_model=False)
        waited = list(waits)
    assert metrics == pytest.approx(expected, abs=1e-7)
    assert trainer.tied_targets == tied
    # What was collected (hits, ranks), and once a trainer the features of the items.
    assert all("interaction.py" in wait or "collector.py" in wait for wait in waited) and len(waited) == 3, waited


@pytest.mark.parametrize(
    ("name", "encoder"), [*((name, DECODERS.get(name, "bert")) for name in OBJECTIVES), ("recformer", "longformer")]
)
def test_a_step_of_tuning_waits_for_nothing(tiny_encoders: dict[str, Path], name: str, encoder: str) -> None:
    folder = tiny_encoders[encoder]
    settings = OBJECTIVES[name].settings(max_tokens=64, **OBJECTIVE_OPTIONS.get(name, {}))
    losses = []
    for on_gpu in (False, True):
        torch.manual_seed(0)
        objective = objective_class(name).build(resolve_encoder(str(folder)), CORPUS, settings, None)
        with torch.no_grad():
            objective.eval().prepare(CORPUS)
        if on_gpu:
            put(objective)
        batch = objective.collate(numbered(objective.examples(SEQUENCES)[:8]))
        if not on_gpu:
            losses.append(float(objective(**batch)["loss"]))
            continue
        # RecBole's SINE module switches anomaly detection on, which reads every gradient; `tune` switches it off.
        with stand_in_gpu() as waits, torch.autograd.set_detect_anomaly(False):
            loss = objective(**moved(batch, CUDA))["loss"]
            loss.backward()
        assert not [wait for wait in waits if ELSEWHERE not in wait], waits
        losses.append(loss.numbers.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(("name", "pooling"), [("bert", "mean"), ("longformer", "cls")])
def test_encoding_items_waits_for_nothing(tiny_encoders: dict[str, Path], name: str, pooling: str) -> None:
    encoder, tokenizer, _ = load_behaviour_encoder(resolve_encoder(str(tiny_encoders[name])), pooling=pooling)
    attributes = [[("title", "one word or two " * (1 + n % 3))] for n in range(12)]
    tokens = ItemTokens.of(attributes, tokenizer)
    expected = encoder.encode_items(tokens, batch_tokens=64)
    put(encoder)
    with stand_in_gpu() as waits:
        found = encoder.encode_items(tokens, batch_tokens=64)
    assert not [wait for wait in waits if ELSEWHERE not in wait], waits
    torch.testing.assert_close(found.numbers, expected, rtol=1e-3, atol=1e-4)  # type: ignore[attr-defined]
