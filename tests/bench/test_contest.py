"""``bench`` measures what it says it measures, on both sides, and writes it down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.bench import contest as contest_module
from recbole_ext.bench.contest import Contest, run_contest, table
from recbole_ext.bench.contestants import enter
from recbole_ext.errors import SourceDataError


@pytest.fixture
def tiny(atomic_folder: Path) -> dict[str, Any]:
    return {
        "data_path": str(atomic_folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
        "hidden_size": 16,
        "inner_size": 16,
        "train_batch_size": 128,
    }


@pytest.fixture(autouse=True)
def restore_anomaly_detection() -> Any:
    before = torch.is_anomaly_enabled()
    yield
    torch.autograd.set_detect_anomaly(before)


def test_both_sides_train_on_the_same_targets_and_stock_is_recboles_own(tiny: dict[str, Any], tmp_path: Path) -> None:
    stock, own = (enter(side, "SASRec", "tiny", tiny, tmp_path) for side in ("stock", "recbole-ext"))
    assert (stock.training_samples, own.training_samples) == ("augmented", "user")
    assert stock.targets_per_epoch == own.targets_per_epoch == own.train_data.rows.n_targets
    for thing in (stock.trainer, stock.train_data, stock.train_data._dataset, stock.trainer.eval_collector):
        assert type(thing).__module__.startswith("recbole."), thing


def test_the_record_has_medians_of_every_repeat_and_ratios_of_the_two_sides(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(measure: Callable[..., Any], side: str, contest: Contest) -> Any:
        return {"_peak_memory": 100.0 if side == "stock" else 50.0}.get(measure.__name__) or measure(side, contest)

    monkeypatch.setattr(contest_module, "_in_own_process", at_once)
    contest = Contest("SASRec", "tiny", tiny, repeats=3, reach=0.001)
    result = run_contest(contest, tmp_path / "tiny-SASRec.json", "recbole-ext bench …")
    assert json.loads((tmp_path / "tiny-SASRec.json").read_text()) == result
    stock, own = result["sides"]["stock"], result["sides"]["recbole-ext"]
    for side in (stock, own):
        assert len(side["seconds"]["epoch"]) == len(side["seconds"]["evaluation"]) == 3
        assert side["seconds_per_epoch"] == sorted(side["seconds"]["epoch"])[1]
        assert side["targets_per_second"] == pytest.approx(side["targets_per_epoch"] / side["seconds_per_epoch"])
        assert side["seconds_to_reach"] > 0
    assert result["ratios"]["seconds_per_epoch"] == stock["seconds_per_epoch"] / own["seconds_per_epoch"]
    assert result["ratios"]["peak_memory_mb"] == 2
    lines = table([result])
    assert any("| seconds to reach 0.001 |" in line for line in lines) and all(line.count("|") == 7 for line in lines)


def test_a_goal_out_of_reach_stops_at_the_limit_and_has_no_seconds(tiny: dict[str, Any]) -> None:
    contest = Contest("SASRec", "tiny", tiny, reach=0.999, limit=0.01)
    assert contest_module._seconds_to_reach("recbole-ext", contest) is None


def test_a_missing_dataset_is_named_before_anything_is_measured(tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match="absent.inter"):
        run_contest(Contest("SASRec", "absent", tiny), tmp_path / "out.json", "")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
def test_peak_memory_is_that_of_a_process_of_its_own(tiny: dict[str, Any]) -> None:
    for side in ("stock", "recbole-ext"):
        peak = contest_module._in_own_process(contest_module._peak_memory, side, Contest("SASRec", "tiny", tiny))
        assert 100 < peak < 3000
