"""How far a run is: validation, never test, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved
from recbole_ext.runs import single
from recbole_ext.runs.progress import Progress, read_progress, remove_progress, write_progress
from recbole_ext.runs.recording import record_run

CURVE: list[dict[str, Any]] = [
    {"epoch": 0, "train_loss": 6.123456, "train_seconds": 1.0, "valid": 0.0624, "valid_seconds": 0.1},
    {"epoch": 1, "train_loss": 5.612345, "train_seconds": 1.0, "valid": 0.0611, "valid_seconds": 0.1},
]


def test_it_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_ext.runs.progress.time.time", lambda: 1020.0)
    words = Progress.of(CURVE, 300, began=1000.0).in_words()
    assert words == "epoch 2 of at most 300, loss 5.6123, validation 0.0611 (best 0.0624), at most 50 min left"
    assert Progress().in_words() == Progress().in_short() == "first epoch not over yet"


def test_of_several_runs_it_is_told_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_ext.runs.progress.time.time", lambda: 1020.0)
    assert Progress.of(CURVE, 300, began=1000.0).in_short() == "2/300, 0.0611, ≤ 50 min"


def test_what_validates_nothing_tells_its_loss() -> None:
    curve = [{key: value for key, value in entry.items() if "valid" not in key} for entry in CURVE]
    assert "loss 5.6123, at most" in Progress.of(curve, 2, began=0).in_words()


def test_the_best_is_the_lowest_where_lower_is_better() -> None:
    assert Progress.of(CURVE, 300, began=0, direction=-1).best == 0.0611


def test_a_boosted_tree_tells_no_loss() -> None:
    words = Progress.of([{"epoch": 0, "train_seconds": 1.0, "valid": 0.1}], 3, began=0).in_words()
    assert words.startswith("epoch 1 of at most 3, validation 0.1000")


def test_what_is_infinite_or_no_number_is_not_told_and_stops_nothing(tmp_path: Path) -> None:
    curve = [*CURVE, {"epoch": 2, "train_loss": float("inf"), "train_seconds": 1.0, "valid": float("nan")}]
    progress = Progress.of(curve, 300, began=0)
    write_progress(tmp_path / "progress.json", progress)
    assert read_progress(tmp_path / "progress.json") == progress
    assert (progress.loss, progress.best) == (None, 0.0624) and "inf" not in progress.in_words()


def test_what_was_written_is_read_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) is None
    progress = Progress.of(CURVE, 3, began=1.0)
    write_progress(path, progress)
    assert read_progress(path) == progress
    for damaged in ("", "{", '{"epochs": 3, "other": 1}'):
        path.write_text(damaged)
        assert read_progress(path) is None


def test_a_folder_that_can_not_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_progress(tmp_path / "file" / "progress.json", Progress())


def test_a_run_tells_every_epoch_and_never_a_test_metric(
    resolved: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = resolved().specs()
    told: list[str] = []
    run_once = single.run_once

    def watched(spec: Any, on_epoch: Any) -> Any:
        def and_look(curve: Any, epochs: int, direction: int) -> None:
            on_epoch(curve, epochs, direction)
            told.append(spec.progress_path.read_text())

        told.append(spec.progress_path.read_text())
        return run_once(spec, and_look)

    monkeypatch.setattr("recbole_ext.runs.single.run_once", watched)
    assert record_run(spec, threads=1, wait=False)
    assert ['"epoch": 0' in told[0], '"epoch": 2' in told[-1]] == [True, True]
    assert not any("test" in text for text in told)
    assert not spec.progress_path.exists()


def test_what_a_killed_process_left_half_written_goes_with_the_progress_of_the_next(tmp_path: Path) -> None:
    path, other = tmp_path / ".run.progress.json", tmp_path / ".run2.progress.json"
    for progress in (path, other):
        write_progress(progress, Progress())
        (tmp_path / f".{progress.name}.s89vzhc7.tmp").touch()
    remove_progress(path)
    assert sorted(tmp_path.iterdir()) == sorted([other, tmp_path / f".{other.name}.s89vzhc7.tmp"])
