"""What is computed at once: on a CPU as ever, on an accelerator what its memory has room for."""

from __future__ import annotations

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
