"""Encoders on a GPU: a step of each objective, ``tune``, ``encode``, RECFORMER and ``score``.

Tolerances: vectors differ by at most 1e-3 of themselves or 1e-4, losses by 1e-3, gradients by 1e-2 of their norm.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from made_up_corpus import CORPUS, DECODERS, SEQUENCES, numbered
from on_devices import OBJECTIVE_OPTIONS

from recbole_ext import api
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.encoding.settings import Compute
from recbole_ext.moving import moved
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.tuning import tune
from recbole_ext.tuning.objectives import OBJECTIVES, objective_class
from recbole_ext.vectors.encoder import Encoder

pytestmark = pytest.mark.gpu

Build = Callable[..., SimpleNamespace]
CPU = torch.device("cpu")
FAST: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_tokens": 48, "attribute_tokens": 8, "max_items": 5}
SUITE: dict[str, Any] = {
    "version": 1,
    "name": "mini",
    "datasets": ["tiny"],
    "models": {"SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1}, "NearestNeighbour": {}},
    "initialisations": {"random": {}, "vectors": {"transform": ["center", {"width": 16}], "missing": "mean"}},
    "search": {"space": {"item_embedding_scale": [0.05, 0.2]}},
    "grids": {"NearestNeighbour": {"seeds": [42], "search": {}}},
    "seeds": [42, 43],
    "config": {"epochs": 1, "train_batch_size": 256, "topk": [1, 5, 10], "show_progress": False},
    "note": "Made-up people.",
}


@pytest.mark.parametrize(
    ("name", "encoder"), [*((name, DECODERS.get(name, "bert")) for name in OBJECTIVES), ("recformer", "longformer")]
)
def test_loss_and_gradients_of_an_objective_are_those_of_the_cpu(
    tiny_encoders: dict[str, Path], device: torch.device, name: str, encoder: str
) -> None:
    settings = OBJECTIVES[name].settings(max_tokens=64, **OBJECTIVE_OPTIONS.get(name, {}))
    losses, gradients = [], []
    for where in (CPU, device):
        torch.manual_seed(0)
        objective = objective_class(name).build(resolve_encoder(str(tiny_encoders[encoder])), CORPUS, settings, None)
        objective.to(where)
        with torch.no_grad():
            objective.eval().prepare(CORPUS)
        batch = moved(objective.collate(numbered(objective.examples(SEQUENCES)[:8])), where)
        with torch.autograd.set_detect_anomaly(False):
            loss = objective(**batch)["loss"]
            loss.backward()
        losses.append(loss.item())
        gradients.append({name: p.grad.cpu() for name, p in objective.named_parameters() if p.grad is not None})
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    largest = max(gradient.norm() for gradient in gradients[0].values())
    for parameter, gradient in gradients[0].items():
        assert (gradients[1][parameter] - gradient).norm() <= 1e-2 * gradient.norm() + 1e-4 * largest, parameter


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("objective", ["pairs", "recformer", "next-title"])
def test_tune_makes_an_encoder_that_encode_reads(
    atomic_folder: Path,
    tiny_encoders: dict[str, Path],
    device: torch.device,
    tmp_path: Path,
    objective: str,
    precision: str,
) -> None:
    if device.type == "cpu" and torch.cuda.is_available():
        pytest.skip("`tune` takes the GPU that is there")
    encoder = str(tiny_encoders[DECODERS.get(objective, "bert")])
    known = OBJECTIVES[objective].settings.model_fields
    settings = {key: value for key, value in FAST.items() if key in known}
    source = Dataset.named("tiny", atomic_folder, configs=atomic_folder)
    report = tune([source], encoder, tmp_path / "tuned", objective, precision=precision, held_out=0.2, **settings)
    losses = [entry["loss"] for entry in report.record["curve"] if "loss" in entry]
    assert losses and np.isfinite(losses).all() and np.isfinite(report.record["held_out_loss"]).all()
    assert report.record["tokens_per_second"] > 0
    assert (report.record["peak_device_memory_mb"] is None) == (device.type == "cpu")
    assert len(encoded(atomic_folder, tmp_path / "tuned", tmp_path / "store", device)) == 60


def encoded(folder: Path, encoder: Path, out: Path, device: torch.device) -> ItemEmbeddingStore:
    source = Encoder(encoder=str(encoder))
    compute = Compute(devices=(str(device),))
    source.make(Dataset.named("tiny", folder, configs=folder), out, out.parent / "artifacts", compute)
    return ItemEmbeddingStore.load(out)


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "longformer", "gpt2"])
def test_encoded_vectors_are_those_of_the_cpu(
    atomic_folder: Path, tiny_encoders: dict[str, Path], device: torch.device, tmp_path: Path, name: str
) -> None:
    expected, found = (
        encoded(atomic_folder, tiny_encoders[name], tmp_path / f"{number} {where}", where)
        for number, where in enumerate((CPU, device))
    )
    assert found.items == expected.items
    torch.testing.assert_close(found.embeddings, expected.embeddings, rtol=1e-3, atol=1e-4)
    assert found.meta["cost"]["device"].startswith("cpu") == (device.type == "cpu")


def test_recformer_trains_and_scores_as_on_the_cpu(
    build_on: Build, tiny_encoders: dict[str, Path], device: torch.device
) -> None:
    keys = {"encoder": str(tiny_encoders["bert"]), "attribute_tokens": 6, "max_tokens": 64, "max_items": 50}
    scores = []
    for where in (CPU, device):
        built = build_on(where, "RECFORMER", **keys, train_batch_size=16, learning_rate=1e-3)
        model = built.model.eval()
        batch = built.loaders.valid._dataset[np.arange(8)]
        with torch.no_grad():
            scores.append(model.full_sort_predict(batch.to(where)).cpu())
        samples = choose_samples(built.config, model, built.loaders)
        trainer = build_trainer(built.config, model, built.checkpoint)
        _, metrics = trainer.fit(samples.loader, built.loaders.valid, verbose=False)
        assert np.isfinite([entry["train_loss"] for entry in trainer.curve]).all() and metrics
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-3, atol=1e-4)


def test_a_score_card_says_what_it_was_made_on(atomic_folder: Path, device: torch.device, tmp_path: Path) -> None:
    suite = {**SUITE, "config": SUITE["config"] | ({"use_gpu": False} if device.type == "cpu" else {})}
    path = tmp_path / "mini.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False), encoding="utf-8")
    places: dict[str, Any] = {
        "data_path": atomic_folder,
        "dataset_configs": tmp_path,
        "artifacts": tmp_path / "artifacts",
        "out": tmp_path / "encoders",
        "published": tmp_path / "none",
    }
    card = api.score({"lexical": "tfidf", "dim": 8}, path, **places).card
    assert all(0 <= score.score <= 1 for score in card.scores)
    records = list((tmp_path / "encoders").rglob("runs/[!.]*.json"))
    assert records and all(('"device": "cpu' in record.read_text()) == (device.type == "cpu") for record in records)
