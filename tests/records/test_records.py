"""Run records and grids: what is written is what is read, and what can't be read is named with the way out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from synthetic_runs import Benchmark, made

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Earlier, Grid, Made, Row, RunRecord, history, read_records, record_path


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path / "amazon")


def changed(path: Path, **changes: Any) -> Path:
    """The JSON file again with these keys, ``...`` to leave one out."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), encoding="utf-8")
    return path


# --- run records ---


@given(
    metric=st.floats(),
    setting=st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.floats(allow_nan=False, width=16),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=4,
    ),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_a_record_is_read_as_it_was_written(tmp_path: Path, metric: float, setting: Any) -> None:
    benchmark = Benchmark(tmp_path)
    written = benchmark.add(test={"ndcg@10": metric}, config={"key": setting})
    path = record_path(tmp_path, written.run)
    read = RunRecord.read(path)
    json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)  # JSON as everybody reads it
    found = read.done.test["ndcg@10"]
    assert found == metric or (math.isnan(found) and math.isnan(metric))
    if "inf" not in str(setting):
        assert read.done.config == {"key": setting}
    assert read.model_copy(update={"made": None}) == written.model_copy(update={"made": None})


@pytest.mark.parametrize(
    ("mode", "full"),
    [({"valid": "uni100", "test": "full"}, True), ({"valid": "full", "test": "uni100"}, False), ("full", True)],
)
def test_whether_all_items_were_ranked_is_what_the_mode_of_the_test_says(
    benchmark: Benchmark, mode: Any, full: bool
) -> None:
    assert benchmark.add(config={"eval_args": {"mode": mode}}).done.ranks_all_items == full


@pytest.mark.parametrize(("number", "text"), [(math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")])
def test_an_infinite_setting_is_kept_as_a_text_not_lost(benchmark: Benchmark, number: float, text: str) -> None:
    record = benchmark.add(config={"bounds": [number, {"deep": number}], "none": None})
    read = RunRecord.read(record_path(benchmark.folder, record.run))
    assert read.done.config == {"bounds": [text, {"deep": text}], "none": None}


@pytest.mark.parametrize("format", [..., 1, "1"])
def test_a_record_of_an_earlier_version_says_so_and_how_to_go_on(benchmark: Benchmark, format: Any) -> None:
    path = changed(record_path(benchmark.folder, benchmark.add().run), format=format, init="none")
    with pytest.raises(ConfigurationError, match="of an earlier version of this package; delete it") as error:
        RunRecord.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": "many"}, "key `seed`"),
        ({"dataset": ...}, "key `dataset`"),
        ({"colour": "red"}, "key `colour`"),
        ({"made": {"test": {}}}, r"key `made\.valid_metric`"),
        ({"status": "failed"}, "status 'failed' does not fit"),
        ({"made": None}, "status 'done' does not fit"),
        ({"status": "running"}, "key `status`"),
    ],
)
def test_a_damaged_record_is_named_with_its_key(benchmark: Benchmark, changes: dict[str, Any], said: str) -> None:
    path = changed(record_path(benchmark.folder, benchmark.add().run), **changes)
    with pytest.raises(ConfigurationError, match=said) as error:
        RunRecord.read(path)
    assert str(path) in str(error.value) and "Delete the file" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"format": 2}'])
def test_what_is_no_record_at_all_is_refused(benchmark: Benchmark, content: bytes) -> None:
    path = record_path(benchmark.folder, benchmark.add().run)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="Delete the file"):
        RunRecord.read(path)


def test_a_renamed_record_is_refused(benchmark: Benchmark) -> None:
    path = record_path(benchmark.folder, benchmark.add().run)
    with pytest.raises(ConfigurationError, match="rename it to Office-SASRec-none-full-s42.json"):
        RunRecord.read(path.rename(path.with_name("other.json")))


def test_a_record_can_not_be_made_that_could_not_be_read(benchmark: Benchmark) -> None:
    with pytest.raises(ValidationError, match="does not fit"):
        RunRecord(**{**benchmark.add().model_dump(), "status": "failed"})


def test_what_a_run_tells_of_its_own_training() -> None:
    curve = [
        {"epoch": 0, "train_loss": 1.0, "train_seconds": 2.0, "valid": 0.1, "valid_seconds": 0.5},
        {"epoch": 1, "train_loss": 1.0, "train_seconds": 2.0},
        {"epoch": 2, "train_loss": 1.0, "train_seconds": 2.0, "valid": 0.3, "valid_seconds": 0.5},
        {"epoch": 3, "train_loss": 1.0, "train_seconds": 2.0, "valid": 0.2, "valid_seconds": 0.5},
    ]
    run = Made(**made(curve=curve, best_epoch=2, validation={"ndcg@10": 0.3, "mrr@5": 0.9}))
    assert (run.score, run.validations, run.seconds_to_best) == (0.3, {0: 0.1, 2: 0.3, 3: 0.2}, 7.0)
    assert Made(**made(validation={})).score is None


@pytest.mark.parametrize(
    ("stopped_early", "limit", "trainable", "at_limit"),
    [
        (True, 4, 9, False),
        (False, 4, 9, True),
        (False, 100, 9, False),  # RecBole gives one epoch to models without training
        (False, 4, 1, False),
        (False, 0, 9, False),  # an encoder that ranks as it is
    ],
)
def test_a_run_ended_at_the_limit_if_it_was_still_training(
    stopped_early: bool, limit: int, trainable: int, at_limit: bool
) -> None:
    curve = [{"epoch": epoch, "train_loss": 1.0, "train_seconds": 2.0} for epoch in range(4)]
    parameters = {"total": 9, "trainable": trainable, "item_embedding": 0}
    run = Made(**made(curve=curve, stopped_early=stopped_early, epoch_limit=limit, parameters=parameters))
    assert run.ended_at_limit == at_limit


# --- grids ---


def test_a_grid_is_read_as_it_was_written(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm", seed=43)
    grid = benchmark.grid().model_copy(update={"content": {"name": "amazon", "config": {"epochs": 3, "x": None}}})
    grid.write(benchmark.folder)
    assert Grid.read(benchmark.folder) == grid


def test_where_no_grid_is_the_error_says_where_one_is(benchmark: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="`recbole-ext run` writes"):
        Grid.read(tmp_path)
    benchmark.add()
    benchmark.write()
    with pytest.raises(ConfigurationError, match="amazon, one up"):
        Grid.read(benchmark.folder / "runs")
    with pytest.raises(ConfigurationError, match="one of amazon below"):
        Grid.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"rows": 3}, "key `rows`"), ({"format": 1}, "earlier version"), ({"metrik": "x"}, "key `metrik`")],
)
def test_a_damaged_grid_is_named_with_its_key(benchmark: Benchmark, changes: dict[str, Any], said: str) -> None:
    benchmark.add()
    benchmark.write()
    changed(benchmark.folder / "grid.json", **changes)
    with pytest.raises(ConfigurationError, match=f"{said}.*Run the benchmark again"):
        Grid.read(benchmark.folder)


def test_a_grid_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "grid.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"grid\.json: Is a directory\. Run the benchmark again"):
        Grid.read(tmp_path)


def test_a_choice_is_one_of_the_trials_and_its_run_one_of_the_row_s() -> None:
    row: dict[str, Any] = {"dataset": "d", "model": "m", "variant": "v", "protocol": "p", "mode": "-"}
    row["vectors"] = "random"
    assert Row(**row, trials=["a", "b"], chosen=1, runs=["b", "c"]).key == ("d", "m", "v", "p")
    assert Row(**row, trials=["a"], chosen=None, runs=[]).chosen is None
    with pytest.raises(ValidationError, match="chosen 2 is none of its 2 trials"):
        Row(**row, trials=["a", "b"], chosen=2, runs=["b"])
    with pytest.raises(ValidationError, match="run a is not among its runs"):
        Row(**row, trials=["a", "b"], chosen=0, runs=["b"])


def test_two_rows_can_not_have_one_name(benchmark: Benchmark) -> None:
    benchmark.add()
    grid = benchmark.grid()
    with pytest.raises(ValidationError, match="two rows are called Office, SASRec, none, full"):
        Grid(**{**grid.model_dump(), "rows": [*grid.rows, *grid.rows]})


def test_records_are_read_by_name_and_those_not_made_yet_are_left_out(benchmark: Benchmark) -> None:
    record = benchmark.add()
    assert read_records(benchmark.folder, [record.run, "not-made"]) == {record.run: record}


def test_history_is_what_the_grid_did_not_ask_for_whatever_its_format(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(trial={"x": 1})  # of the search, not chosen: asked for all the same
    benchmark.add(seed=7, asked=False, date="2026-11-01T00:00:00+00:00")
    runs = benchmark.folder / "runs"
    (runs / "older.json").write_text('{"date": "2025-01-01", "init": "none"}')
    (runs / "torn.json").write_text("{")
    (runs / "list.json").write_text("[]")
    assert history(benchmark.folder, benchmark.grid()) == [
        Earlier("Office-SASRec-none-full-s7", "2026-11-01T00:00:00+00:00"),
        Earlier("list", ""),
        Earlier("older", "2025-01-01"),
        Earlier("torn", ""),
    ]
