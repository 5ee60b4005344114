"""``bench`` measures what it says it measures, on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.bench import contest as contest_module
from recbole_ext.bench.contest import Contest, run_contest, table
from recbole_ext.bench.contestants import STOCK_EVAL_BATCH, enter
from recbole_ext.bench.measuring import apart
from recbole_ext.benchmark import RunSpec
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import SourceDataError
from recbole_ext.runs.trial import lone_run


@pytest.fixture
def spec(tiny: Dataset, small: dict[str, Any], tmp_path: Path) -> RunSpec:
    return lone_run("SASRec", tiny, small, tmp_path)


def test_both_sides_train_on_the_same_targets_and_stock_is_recboles_own(spec: RunSpec) -> None:
    stock, own = (enter(side, spec) for side in ("stock", "recbole-ext"))
    assert (stock.training_samples, own.training_samples) == ("augmented", "user")
    assert stock.targets_per_epoch == own.targets_per_epoch == own.train_data.rows.n_targets
    for thing in (stock.trainer, stock.train_data, stock.train_data._dataset, stock.trainer.eval_collector):
        assert type(thing).__module__.startswith("recbole."), thing
    assert stock.trainer.config["eval_batch_size"] == STOCK_EVAL_BATCH


def test_the_result_has_medians_of_every_repeat_and_ratios_of_the_two_sides(
    tiny: Dataset, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(measure: Callable[..., Any], side: str, *others: Any) -> Any:
        if measure.__name__ == "_peak_memory":
            return {"peak_memory_mb": 100.0 if side == "stock" else 50.0}
        return measure(side, *others)

    monkeypatch.setattr(contest_module, "apart", at_once)
    result = run_contest(Contest("SASRec", tiny, small, repeats=3, reach=0.001))
    assert result["contest"]["dataset"] == "tiny"
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


def test_a_goal_out_of_reach_stops_at_the_limit_and_has_no_seconds(spec: RunSpec) -> None:
    assert contest_module._seconds_to_reach("recbole-ext", spec, reach=0.999, limit=0.01) is None


def test_a_missing_dataset_is_named_before_anything_is_measured(tiny: Dataset) -> None:
    with pytest.raises(SourceDataError, match="absent.inter"):
        run_contest(Contest("SASRec", replace(tiny, name="absent")))


@pytest.mark.slow
def test_peak_memory_is_that_of_a_process_of_its_own(spec: RunSpec) -> None:
    for side in ("stock", "recbole-ext"):
        assert 100 < apart(contest_module._peak_memory, side, spec)["peak_memory_mb"] < 3000


@pytest.mark.parametrize(
    ("value", "shown"),
    [(24708.3, "24,710"), (1_234_567, "1,235,000"), (837.66, "837.7"), (0.13452, "0.1345"), (2.0, "2")],
)
def test_the_table_shows_four_digits_and_no_exponent(value: float, shown: str) -> None:
    side = {"seconds_per_epoch": value}
    result = {
        "contest": {"dataset": "tiny", "model": "SASRec"},
        "sides": {"stock": side, "recbole-ext": side},
        "ratios": {"seconds_per_epoch": 1.0},
    }
    assert table([result])[-1] == f"| tiny | SASRec | seconds per epoch | {shown} | {shown} | 1.0 |"
