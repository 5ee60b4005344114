"""Whatever becomes of a run there is a record, and two calls never do the same run twice or over each other."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replaced_runs import record_of

from recbole_ext.benchmark import Resolved, RunSpec
from recbole_ext.claims import claim
from recbole_ext.errors import StoreError
from recbole_ext.records import RunRecord
from recbole_ext.runs.grid import grid_of
from recbole_ext.runs.progress import Progress, read_progress, write_progress
from recbole_ext.runs.recorded import recorded_config
from recbole_ext.runs.recording import RunDied, forget_progress, is_done, read_record, record_death, record_run


@pytest.fixture
def spec(resolved: Callable[..., Resolved]) -> Iterator[RunSpec]:
    handler = signal.getsignal(signal.SIGINT)
    yield next(resolved().specs())
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[RunSpec], None]], list[RunSpec]]:
    """``runs(instead)`` puts a function in the place of ``run_once``; returns the list of what it was given."""

    def runs(instead: Callable[[RunSpec], None]) -> list[RunSpec]:
        ran: list[RunSpec] = []

        def run_once(spec: RunSpec, on_epoch: object) -> None:
            ran.append(spec)
            instead(spec)

        monkeypatch.setattr("recbole_ext.runs.single.run_once", run_once)
        return ran

    return runs


def finish(spec: RunSpec, status: str = "done") -> None:
    record_of(spec, error="no" if status == "failed" else None).write(spec.record_path)


def found(spec: RunSpec) -> RunRecord:
    record = read_record(spec)
    assert record is not None
    return record


def test_a_record_holds_no_home_folder_and_no_folder_of_the_project(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    settings = {
        "data_path": "/home/ann/data/tiny",
        "item_embedding": f"{tmp_path}/artifacts/stores/tiny",
        "checkpoint_dir": "/scratch/job-7/checkpoints",
        "encoder": "/models/e5",
        "files": ["/home/ann/a", {"of": "/home/ann/b"}],
        "seq_separator": "/",
        "epochs": 2,
    }
    assert recorded_config(SimpleNamespace(final_config_dict=settings)) == {
        "data_path": "~/data/tiny",
        "item_embedding": "artifacts/stores/tiny",
        "checkpoint_dir": "checkpoints",
        "encoder": "/models/e5",
        "files": ["~/a", {"of": "~/b"}],
        "seq_separator": "/",
        "epochs": 2,
    }


def test_the_grid_that_is_shared_names_no_home_folder(
    monkeypatch: pytest.MonkeyPatch, resolved: Callable[..., Resolved]
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    found = resolved()
    command = "recbole-ext run /home/ann/mine.yaml"
    benchmark = found.benchmark.model_copy(update={"artifacts": Path("/home/ann/artifacts"), "note": "of /home/ann"})
    grid = grid_of(replace(found, command=command, benchmark=benchmark))
    assert grid.command == "recbole-ext run ~/mine.yaml"
    assert "/home/ann" not in str(grid.content)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StoreError("s: no store. Make one."), "s: no store. Make one."),
        (ValueError("odd"), "ValueError: odd"),
        (MemoryError("too much"), "MemoryError: too much"),
    ],
)
def test_an_exception_is_recorded_with_its_traceback(
    spec: RunSpec, runs: Callable[..., Any], error: Exception, message: str
) -> None:
    def fail(spec: RunSpec) -> None:
        raise error

    runs(fail)
    assert record_run(spec, 1, wait=False)
    record = found(spec)
    assert (record.status, record.error, record.command) == ("failed", message, "the command")
    assert "Traceback" in str(record.traceback) and "in fail" in str(record.traceback)
    assert not is_done(spec) and not spec.progress_path.exists()


def test_a_run_that_another_process_is_on_is_left_to_it(spec: RunSpec, runs: Callable[..., Any]) -> None:
    ran = runs(finish)
    with claim(spec.claim_path, wait=True):
        assert not record_run(spec, 1, wait=False)
    assert ran == []
    assert read_record(spec) is None


@pytest.mark.parametrize("status", ["done", "failed"])
def test_who_waits_for_another_takes_what_it_recorded(spec: RunSpec, runs: Callable[..., Any], status: str) -> None:
    ran = runs(finish)
    finish(spec, "failed")
    # record_run sets a signal handler, so it has to be this thread that waits.
    held, release = threading.Event(), threading.Event()

    def other() -> None:
        with claim(spec.claim_path, wait=True):
            held.set()
            release.wait(10)
            finish(spec, status)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(10)
    threading.Timer(0.3, release.set).start()
    assert record_run(spec, 1, wait=True)
    thread.join(10)
    assert found(spec).status == status
    assert ran == []


def test_who_waits_for_another_that_leaves_nothing_runs_it(spec: RunSpec, runs: Callable[..., Any]) -> None:
    ran = runs(finish)
    held = threading.Event()

    def other() -> None:
        with claim(spec.claim_path, wait=True):
            held.set()
            threading.Event().wait(0.3)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(10)
    assert record_run(spec, 1, wait=True)
    thread.join(10)
    assert ran == [spec]
    assert is_done(spec)


def test_a_run_that_is_done_is_not_done_again(spec: RunSpec, runs: Callable[..., Any]) -> None:
    ran = runs(finish)
    finish(spec)
    assert record_run(spec, 1, wait=False)
    assert ran == []


def test_a_death_is_recorded_with_what_is_known_of_it(spec: RunSpec) -> None:
    assert record_death(spec, RunDied("exit code -9"))
    assert (found(spec).status, found(spec).error) == ("failed", "exit code -9")
    assert record_death(spec, OSError("lost a node\nlast seen at noon"))
    assert (found(spec).error, found(spec).traceback) == ("OSError: lost a node", "lost a node\nlast seen at noon")


def test_what_died_or_is_forgotten_no_longer_says_how_far_it_is_unless_another_process_is_on_it(spec: RunSpec) -> None:
    for forget in (forget_progress, lambda spec: record_death(spec, RunDied("exit code -9"))):
        write_progress(spec.progress_path, Progress(epoch=70, epochs=300))
        with claim(spec.claim_path, wait=True):
            forget(spec)
        assert read_progress(spec.progress_path) is not None
        forget(spec)
        assert read_progress(spec.progress_path) is None


def test_a_death_is_not_written_over_what_another_process_does(spec: RunSpec) -> None:
    with claim(spec.claim_path, wait=True):
        assert not record_death(spec, RunDied("exit code -9"))
    assert read_record(spec) is None
    finish(spec)
    record_death(spec, RunDied("exit code -9"))
    assert is_done(spec)


def test_a_finished_run_that_fails_when_its_weights_are_to_be_kept_stays_finished(
    spec: RunSpec, runs: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(spec: RunSpec) -> None:
        raise MemoryError("too much")

    runs(fail)
    finish(spec)
    keeping = replace(spec, keep_checkpoint=True)
    assert record_run(keeping, 1, wait=False) and record_death(keeping, RunDied("exit code -9"))
    assert is_done(spec) and not is_done(keeping)
    assert "MemoryError: too much. The record of when it finished stays." in caplog.text
    assert "exit code -9. The record of when it finished stays." in caplog.text


def test_a_run_that_exports_a_store_is_done_only_where_that_is_there(spec: RunSpec, tmp_path: Path) -> None:
    spec = replace(spec, model="RECFORMER")
    exporting = replace(spec, config={**spec.config, "export_item_embedding": str(tmp_path / "exported")})
    finish(exporting)
    assert is_done(spec) and not is_done(exporting)
    (tmp_path / "exported").mkdir()
    assert is_done(exporting)


def test_recbole_never_makes_a_folder_that_another_run_may_be_making(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    import recbole.data.utils
    import recbole.trainer.trainer

    was_there: list[bool] = []
    for module in (recbole.trainer.trainer, recbole.data.utils):
        monkeypatch.setattr(module, "ensure_dir", lambda folder: was_there.append(Path(folder).is_dir()))
    record_run(spec, threads=1, wait=False)
    assert found(spec).status == "done"
    assert was_there and all(was_there)
