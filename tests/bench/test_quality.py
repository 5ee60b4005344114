"""``bench quality`` and ``bench reach``: what is compared, and where the numbers come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from recbole_ext.bench import quality, reach
from recbole_ext.bench.quality import Comparison, quality_table, run_quality
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.records import RunRecord

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
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "SETTINGS", FAST)
    seeds = {"recbole-ext": 2, "stock": 1}
    result = run_quality([tiny], ["SASRec"], seeds, 2, tmp_path, "test")
    records = [RunRecord.read(path) for path in tmp_path.glob("quality-*/runs/*.json")]
    ways = sorted((record.benchmark, record.done.training_samples, record.seed) for record in records)
    assert ways == [
        ("quality-recbole-ext", "user", 42),
        ("quality-recbole-ext", "user", 43),
        ("quality-stock", "prefix", 42),
    ]
    (row,) = result["comparisons"]
    by_side = {
        side: [r.done.test["ndcg@10"] for r in records if r.benchmark == f"quality-{side}"] for side in row["scores"]
    }
    assert {side: sorted(values) for side, values in row["scores"].items()} == {
        k: sorted(v) for k, v in by_side.items()
    }
    assert row["epochs_to_stocks_best_validation"]["stock"] in (1.0, 1.5, 2.0)
    assert "tiny | SASRec" in quality_table(result)[2]

    (tmp_path / "quality.json").write_text(json.dumps(result))
    reached = reach.run_reach(tiny, "SASRec", 2, tmp_path / "quality.json")
    each = float(np.median(reached["seconds_of_an_epoch_and_its_evaluation"]["stock"]))
    assert reached["seconds_to_stocks_best"]["stock"] == pytest.approx(reached["epochs"]["stock"] * each)
    assert len(reach.reach_table(reached)) in (4, 5)
    with pytest.raises(SourceDataError, match="nothing on BERT4Rec"):
        reach.run_reach(tiny, "BERT4Rec", 1, tmp_path / "quality.json")


@pytest.mark.parametrize(
    ("models", "own", "stock", "message"),
    [
        (["SASRec", "GRU4Rec"], 5, 5, "settings GRU4Rec is trained here; compared are SASRec, BERT4Rec"),
        (["SASRec"], 1, 1, "1 --seeds and 1 --stock-seeds have no interval"),
        (["SASRec"], 5, 0, "give each side a seed"),
    ],
)
def test_what_can_not_be_compared_is_refused_before_anything_is_trained(
    tiny: Dataset, tmp_path: Path, models: list[str], own: int, stock: int, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run_quality([tiny], models, {"recbole-ext": own, "stock": stock}, 1, tmp_path, "test")
    assert list(tmp_path.iterdir()) == []


def test_one_seed_beside_two_has_an_interval() -> None:
    row = Comparison("d", "m", {"recbole-ext": [0.3, 0.5], "stock": [0.2]}, {}, 1).as_dict()
    assert np.isfinite(row["interval"]).all()


def test_a_failed_run_is_named(tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "SETTINGS", {"SASRec": {**FAST["SASRec"], "learning_rate": 1e30}})
    with pytest.raises(ConfigurationError, match=r"quality-stock/runs.*failed"):
        run_quality([tiny], ["SASRec"], {"recbole-ext": 2, "stock": 1}, 1, tmp_path, "test")


@pytest.mark.parametrize("line", ["bench --dataset d --repeats 2 {kind}", "bench {kind} --dataset d --repeats 2"])
@pytest.mark.parametrize("kind", ["encode", "tune", "reach", "options"])
def test_what_several_kinds_understand_may_stand_before_or_behind_the_kinds_name(line: str, kind: str) -> None:
    from recbole_ext.cli import build_parser

    options = build_parser().parse_args(line.format(kind=kind).split())
    assert (options.dataset, options.repeats, options.data_path) == (["d"], 2, Path("artifacts/data"))
    assert options.measure.__name__ == f"_{kind}"


@pytest.mark.parametrize(
    ("kind", "option"),
    [("memory", "--dataset d"), ("scale", "--repeats 2"), ("quality", "--repeats 2"), ("encode", "--model M")],
)
def test_an_option_that_a_kind_does_not_read_is_refused(
    kind: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from recbole_ext.cli import main

    with pytest.raises(SystemExit):
        main(["bench", kind, *option.split()])
    assert "unrecognized arguments" in capsys.readouterr().err
