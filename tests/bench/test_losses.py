"""``bench losses``: every loss is measured on every catalogue, and trains one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_ext.bench import losses
from recbole_ext.errors import ConfigurationError

FAST = {"epochs": 2, "hidden_size": 16, "inner_size": 32, "train_batch_size": 128}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "SETTINGS", FAST)
    monkeypatch.setattr(losses, "CATALOGUES", (50, 400))
    monkeypatch.setattr(losses, "TARGETS", 64)
    monkeypatch.setattr(losses, "_apart", lambda measure, *arguments: measure(*arguments))


def test_costs_and_quality_of_every_loss_stand_side_by_side(atomic_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "losses.json"
    result = losses.run_losses("tiny", "SASRec", 2, 1, 2, str(atomic_folder), out, "test")
    assert json.loads(out.read_text()) == result
    names = [losses.AT_ONCE, *losses.LOSSES]
    found = [(cost["items"], cost["loss"]) for cost in result["costs"]]
    assert found == [(items, name) for items in (50, 400) for name in names]
    assert all(cost["seconds"] > 0 and cost["memory_mb"] >= 0 for cost in result["costs"])
    records = [json.loads(path.read_text()) for path in (tmp_path / "losses" / "runs").glob("*.json")]
    assert sorted({record["protocol"] for record in records}) == sorted(losses.LOSSES) and len(records) == 12
    for row in result["quality"]:
        scores = [r["test"]["ndcg@10"] for r in records if r["protocol"] == row["loss"]]
        assert sorted(row["scores"]) == sorted(scores) and row["mean"] == pytest.approx(sum(scores) / 2)
    lines = losses.losses_table(result)
    assert all(sum(line.startswith(f"| {name} |") for line in lines) == 2 for name in losses.LOSSES)


def test_all_logits_at_once_take_more_memory_than_the_softmax_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing import get_context

    monkeypatch.setattr(losses, "TARGETS", 2048)

    def apart(name: str) -> float:
        with get_context("spawn").Pool(1) as pool:
            return pool.apply(losses.memory, (20_000, name))

    assert apart("softmax") < apart(losses.AT_ONCE) / 4


def test_a_failed_run_is_named(atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "SETTINGS", {**FAST, "n_heads": 3})
    with pytest.raises(ConfigurationError, match="the run failed"):
        losses.run_losses("tiny", "SASRec", 1, 1, 1, str(atomic_folder), tmp_path / "losses.json", "test")
