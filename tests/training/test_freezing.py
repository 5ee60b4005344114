"""What is frozen keeps its values, what is not trains, and without the keys nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.attach import attach_item_embedding
from recbole_ext.errors import ConfigurationError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.training.freezing import freeze_blocks

Build = Callable[..., SimpleNamespace]


@pytest.fixture
def store(tmp_path: Path) -> str:
    vectors = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
    ItemEmbeddingStore(vectors, [f"i{item}" for item in range(60)], {}).save(tmp_path / "store")
    return str(tmp_path / "store")


def trained(built: SimpleNamespace) -> dict[str, torch.Tensor]:
    """``EPOCHS.NAME``: the state after none, one and two epochs."""
    attach_item_embedding(built.model, built.dataset, built.config)
    freeze_blocks(built.model, built.config)
    samples = choose_samples(built.config, built.model, built.loaders)
    trainer = build_trainer(built.config, built.model, built.checkpoint, samples.loss_of_rows)
    states = [{name: value.clone() for name, value in built.model.state_dict().items()}]
    for epoch in range(2):
        trainer._train_epoch(samples.loader, epoch)
        states.append({name: value.clone() for name, value in built.model.state_dict().items()})
    return {f"{epoch}.{name}": value for epoch, state in enumerate(states) for name, value in state.items()}


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "GRU4Rec"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_item_vectors_wait_for_so_many_epochs_and_then_train(
    build: Build, store: str, model: str, weight_decay: float
) -> None:
    states = trained(build(model, item_embedding=store, item_embedding_frozen_epochs=1, weight_decay=weight_decay))
    first, second, third = (states[f"{epoch}.item_embedding.weight"] for epoch in range(3))
    assert torch.equal(first, second)
    assert not torch.equal(second[1:60], third[1:60])
    others = [name for name in states if name.startswith("1.") and "item_embedding" not in name]
    assert any(not torch.equal(states[name], states["0" + name[1:]]) for name in others)


def test_no_frozen_epochs_is_the_run_without_the_key(build: Build, store: str) -> None:
    without = trained(build("SASRec", item_embedding=store))
    zero = trained(build("SASRec", item_embedding=store, item_embedding_frozen_epochs=0, frozen_blocks=0))
    assert all(torch.equal(without[name], zero[name]) for name in without)


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "LightSANs"])
def test_the_first_blocks_stay_as_they_were_initialised_and_the_others_train(build: Build, model: str) -> None:
    states = trained(build(model, frozen_blocks=1, n_layers=2, n_heads=2))
    changed = {
        number: not all(
            torch.equal(value, states["2" + name[1:]])
            for name, value in states.items()
            if name.startswith(f"0.trm_encoder.layer.{number}.")
        )
        for number in (0, 1)
    }
    assert changed == {0: False, 1: True}


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        ("SASRec", {"frozen_blocks": 3, "n_layers": 2}, "frozen_blocks: 3, but SASRec has 2 blocks"),
        ("GRU4Rec", {"frozen_blocks": 1}, "frozen_blocks: GRU4Rec has no transformer blocks"),
        ("SASRec", {"frozen_blocks": -1}, "frozen_blocks: -1 is not a whole number"),
        ("SASRec", {"frozen_blocks": "all"}, "frozen_blocks: 'all' is not a whole number"),
        ("SASRec", {"item_embedding_frozen_epochs": 5}, "only vectors of a store"),
        ("SASRec", {"item_embedding_frozen_epochs": 5, "item_embedding_mode": "bounded"}, "leave item_embedding_mode"),
        ("SASRec", {"item_embedding_frozen_epochs": 0.5}, "item_embedding_frozen_epochs: 0.5 is not a whole number"),
    ],
)
def test_what_can_not_be_frozen_is_said(
    build: Build, store: str, model: str, keys: dict[str, Any], message: str
) -> None:
    with_store = {"item_embedding": store} if "item_embedding_mode" in keys else {}
    with pytest.raises(ConfigurationError, match=message):
        trained(build(model, **keys, **with_store))
