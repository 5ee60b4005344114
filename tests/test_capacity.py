"""What is computed at once: on a CPU as ever, on an accelerator what its memory has room for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from recbole_ext import capacity
from recbole_ext.training.evaluation import MAXIMUM_SCORES, most_scores
from recbole_ext.training.rows import POSITIONS_PER_PART


def test_a_cpu_computes_what_stays_in_its_caches() -> None:
    config = {"device": torch.device("cpu"), "hidden_size": 64, "n_layers": 2, "embedding_size": None}
    assert capacity.positions_at_once(config, POSITIONS_PER_PART) == POSITIONS_PER_PART
    assert most_scores("cpu") == MAXIMUM_SCORES
    assert capacity.at_once("cpu", 7, 0.5, 100) == 7


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_every_accelerator_is_asked_for_its_memory_in_its_own_way(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "mps":
        monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 2**34)
    else:
        properties = SimpleNamespace(total_memory=2**34)
        monkeypatch.setattr(getattr(torch, kind), "get_device_properties", lambda device: properties)
    assert capacity.at_once(torch.device(kind), 7, 1 / 4, 2**20) == 2**12


def test_an_accelerator_that_does_not_say_its_memory_computes_what_a_cpu_does() -> None:
    assert capacity.device_memory("meta") is None
    assert capacity.at_once("meta", 7, 1 / 4, 100) == 7


@pytest.mark.parametrize("memory", [2**33, 2**36])
def test_an_accelerator_computes_more_the_more_memory_it_has(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(capacity, "device_memory", lambda device: memory)
    gpu = torch.device("cuda")
    assert most_scores(gpu) * 4 == memory / 16
    narrow, wide = (
        capacity.positions_at_once({"device": gpu, "hidden_size": width, "n_layers": 2, "num_layers": None}, 1)
        for width in (64, 768)
    )
    assert narrow == pytest.approx(12 * wide, rel=1e-3)
    assert wide * capacity.activation_bytes(768, 2) <= memory / 4
    assert capacity.at_once(gpu, 7, 1.0, 2.0 * memory) == 1, "never nothing"
