"""``bench quality`` and ``bench reach``: what is compared, and where the numbers come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recbole_ext.bench import quality, reach
from recbole_ext.bench.quality import Comparison, quality_table, run_quality
from recbole_ext.errors import ConfigurationError, SourceDataError

FAST = {"SASRec": {"epochs": 2, "hidden_size": 16, "inner_size": 32, "train_batch_size": 128}}


def test_the_interval_is_students_for_the_difference_of_the_means() -> None:
    own, stock = [0.3, 0.5, 0.4], [0.2, 0.3]
    row = Comparison("d", "m", {"recbole-ext": own, "stock": stock}, {}, 1).as_dict()
    pooled = (np.var(own, ddof=1) * 2 + np.var(stock, ddof=1)) / 3
    half = stats.t.ppf(0.975, 3) * np.sqrt(pooled * (1 / 3 + 1 / 2))
    assert row["difference"] == pytest.approx(0.15)
    assert row["interval"] == pytest.approx([0.15 - half, 0.15 + half])


def test_the_goal_is_what_stock_reached_with_every_seed_and_epochs_are_medians() -> None:
    curves = {"stock": [[0.1, 0.3, 0.2], [0.1, 0.1, 0.25]], "recbole-ext": [[0.26, 0.1], [0.1, 0.2], [0.2, 0.25]]}
    assert quality.epochs_to_stocks_best(curves) == {"stock": 2.5, "recbole-ext": 2.0}
    curves["recbole-ext"] = [[0.1], [0.1], [0.9]]
    assert quality.epochs_to_stocks_best(curves)["recbole-ext"] is None


def test_both_sides_are_trained_and_recorded_once(
    atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "SETTINGS", FAST)
    out = tmp_path / "quality.json"
    result = run_quality(["tiny"], ["SASRec"], 2, 2, 2, str(atomic_folder), out, "test")
    records = [json.loads(path.read_text()) for path in (tmp_path / "quality" / "runs").glob("*.json")]
    ways = sorted((r["protocol"], r["training_samples"], r["seed"]) for r in records)
    assert ways == [
        ("recbole-ext", "user", 42),
        ("recbole-ext", "user", 43),
        ("stock", "prefix", 42),
        ("stock", "prefix", 43),
    ]
    (row,) = result["comparisons"]
    by_side = {side: [r["test"]["ndcg@10"] for r in records if r["protocol"] == side] for side in row["scores"]}
    assert {side: sorted(values) for side, values in row["scores"].items()} == {
        k: sorted(v) for k, v in by_side.items()
    }
    assert row["epochs_to_stocks_best_validation"]["stock"] in (1.0, 1.5, 2.0)
    assert "tiny | SASRec" in quality_table(result)[2]

    reached = reach.run_reach("tiny", "SASRec", _keys(atomic_folder), 2, out, tmp_path / "reach.json", "test")
    each = float(np.median(reached["seconds_of_an_epoch_and_its_evaluation"]["stock"]))
    assert reached["seconds_to_stocks_best"]["stock"] == pytest.approx(reached["epochs"]["stock"] * each)
    assert len(reach.reach_table(reached)) in (4, 5)
    with pytest.raises(SourceDataError, match="nothing on BERT4Rec"):
        reach.run_reach("tiny", "BERT4Rec", {}, 1, out, tmp_path / "r.json", "test")


def test_a_failed_run_is_named(atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "SETTINGS", {"SASRec": {**FAST["SASRec"], "n_heads": 3}})
    with pytest.raises(ConfigurationError, match="the run failed"):
        run_quality(["tiny"], ["SASRec"], 1, 1, 1, str(atomic_folder), tmp_path / "quality.json", "test")


def _keys(folder: Path) -> dict[str, Any]:
    return {
        "data_path": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
    }


@pytest.mark.parametrize("line", ["bench --dataset d --repeats 2 {kind}", "bench {kind} --dataset d --repeats 2"])
@pytest.mark.parametrize("kind", ["encode", "tune", "quality", "reach", "losses", "memory", "options", "scale"])
def test_what_all_kinds_understand_may_stand_before_or_behind_the_kinds_name(line: str, kind: str) -> None:
    from recbole_ext.cli import build_parser

    options = build_parser().parse_args(line.format(kind=kind).split())
    assert (options.dataset, options.repeats, options.data_path) == (["d"], 2, "artifacts/data")
    assert options.run.__name__ == f"_bench_{kind}"
