"""Runs in processes of this machine: the same records, whatever happens to a process on the way."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from started_grids import (
    CHECKOUT,
    CONFIG,
    executor_for,
    finish,
    first_run,
    hear_ctrl_c,
    kill_a_run,
    record_files,
    records_of,
    start,
    tables,
    wait_until,
)

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.records import RunRecord
from recbole_ext.runs import executors
from recbole_ext.runs.endings import how_it_ended
from recbole_ext.runs.executors import LocalProcesses
from recbole_ext.runs.recording import RunDied

# What the tests put in the place of a run, in the run's process.


def signal_itself(number: int, spec: RunSpec, threads: int, gpu: str, wait: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), number)


def kill_itself(spec: RunSpec, threads: int, gpu: str, wait: bool) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(spec: RunSpec, threads: int, gpu: str, wait: bool) -> None:
    time.sleep(1000)


def do_not_listen(spec: RunSpec, threads: int, gpu: str, wait: bool) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    spec.folder.mkdir(parents=True, exist_ok=True)
    (spec.folder / "child").write_text(str(child.pid))
    time.sleep(1000)


def end_at_once(spec: RunSpec, threads: int, gpu: str, wait: bool) -> None:
    """``wait`` stands for whether the run was this call's to do."""
    if not wait:
        raise SystemExit(os.EX_TEMPFAIL)


def tell_what_it_has(spec: RunSpec, threads: int, gpu: str, wait: bool) -> None:
    spec.folder.mkdir(parents=True, exist_ok=True)
    has = {
        "threads": threads,
        "gpu": gpu,
        "cuda_was_initialised": torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork(),
        "deaf_to": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    }
    (spec.folder / "has").write_text(json.dumps(has))


# --- processes of this machine ---


def test_local_processes_are_the_default_and_import_no_ray(described: Callable[..., Path], tmp_path: Path) -> None:
    assert isinstance(executor_for(described(tmp_path)), LocalProcesses)
    code = "import sys, recbole_ext.runs.grid; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout == "False\n"


@pytest.fixture
def spec(described: Callable[..., Path], tmp_path: Path) -> RunSpec:
    """A run of two epochs."""
    return first_run(described(tmp_path))


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """``instead(function)`` puts a function of this module in the place of the run, in the run's process."""
    return lambda function: monkeypatch.setattr(executors, "_in_process", function)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, r"was killed \(signal 9\); the kernel does this when memory runs out"),
        (signal.SIGSEGV, r"was ended by signal 11 \(SIGSEGV: Segmentation fault\)"),
        (signal.SIGTERM, r"was ended by signal 15 \(SIGTERM: Terminated\)"),
    ],
)
def test_a_process_that_died_is_told_by_its_signal(
    spec: RunSpec, instead: Callable[..., None], number: signal.Signals, words: str
) -> None:
    instead(partial(signal_itself, number))
    with LocalProcesses(1) as executor, pytest.raises(RunDied, match=words) as died:
        executor.submit(spec, False).result()
    assert ("memory" in str(died.value)) == (number == signal.SIGKILL)


def test_a_process_that_ended_by_itself_is_told_by_its_exit_code() -> None:
    assert how_it_ended(1) == "its process ended with exit code 1"
    assert how_it_ended(128 + signal.SIGTERM) == how_it_ended(-signal.SIGTERM)
    assert how_it_ended(255) == "its process ended with exit code 255"


def test_no_run_starts_after_the_stop(spec: RunSpec, instead: Callable[..., None]) -> None:
    instead(kill_itself)
    with LocalProcesses(1) as executor:
        executor._stopped = True  # as stop() leaves it for a thread that is about to start its run
        with pytest.raises(RunDied, match="stopped before it began"):
            executor.submit(spec, False).result()


def test_an_error_ends_the_runs_under_way_and_starts_no_other(spec: RunSpec, instead: Callable[..., None]) -> None:
    instead(wait_for_ever)
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), LocalProcesses(1) as executor:
        runs = [executor.submit(spec, False) for _ in range(3)]
        while not executor._running:
            time.sleep(0.05)
        raise ZeroDivisionError
    assert time.monotonic() - began < 60
    assert isinstance(runs[0].exception(), RunDied)
    assert all(run.cancelled() or isinstance(run.exception(), RunDied) for run in runs[1:])


def test_a_run_that_does_not_end_when_told_is_killed_with_its_children(
    spec: RunSpec, instead: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "SECONDS_TO_END", 0.2)
    instead(do_not_listen)
    with LocalProcesses(1) as executor:
        run = executor.submit(spec, False)
        child = spec.folder / "child"
        while not (child.is_file() and child.read_text()):
            time.sleep(0.05)
        executor.stop()
        with pytest.raises(RunDied, match="signal 9"):
            run.result()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(child.read_text())).wait(5)


def test_many_short_runs_at_a_time_are_each_told_rightly(spec: RunSpec, instead: Callable[..., None]) -> None:
    instead(end_at_once)
    with LocalProcesses(4) as executor:
        runs = [executor.submit(spec, wait=number % 2 == 0) for number in range(40)]
        assert [run.result() for run in runs] == [number % 2 == 0 for number in range(40)]


def test_a_run_has_the_threads_and_the_gpu_that_it_is_given(
    spec: RunSpec, instead: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(tell_what_it_has)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    on_gpus = replace(spec, config={key: value for key, value in spec.config.items() if key != "use_gpu"})
    runs = [replace(on_gpus, folder=spec.folder / str(number)) for number in range(4)]
    with LocalProcesses(4, cpus=3) as executor:
        for done in [executor.submit(run, False) for run in runs]:
            assert done.result()
    has = [json.loads((run.folder / "has").read_text()) for run in runs]
    assert [own["threads"] for own in has] == [3] * 4
    assert sorted(own["gpu"] for own in has) == ["0", "0", "1", "1"]
    assert not any(own["cuda_was_initialised"] for own in has)


def test_a_benchmark_says_how_many_threads_a_run_has(described: Callable[..., Path], tmp_path: Path) -> None:
    executor = executor_for(described(tmp_path), cpus_per_run=3, parallel_runs=7)
    assert isinstance(executor, LocalProcesses) and executor._threads == 3


@pytest.mark.parametrize("given", ["file", "standard input"])
def test_a_script_needs_no_line_that_keeps_runs_from_beginning_it_again(
    described: Callable[..., Path], tmp_path: Path, given: str
) -> None:
    described(tmp_path, config={**CONFIG, "epochs": 1})
    script = "import recbole_ext\nprint('begun')\nprint(len(recbole_ext.run('benchmark.yaml').to_pandas()), 'row')\n"
    (tmp_path / "script.py").write_text(script)
    arguments, text = (["script.py"], None) if given == "file" else (["-"], script)
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["begun", "1 row"]), done.stderr


def test_importing_what_runs_load_leaves_ctrl_c_to_the_importer() -> None:
    code = (
        "import signal, recbole_ext.runs.worker, recbole_ext.runs.executors\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, preexec_fn=hear_ctrl_c
    )
    assert "KeyboardInterrupt" in done.stderr and done.returncode != 0


def test_runs_do_not_hear_ctrl_c_and_the_command_still_does(spec: RunSpec, instead: Callable[..., None]) -> None:
    instead(tell_what_it_has)
    with LocalProcesses(1) as executor:
        assert executor.submit(spec, False).result()
    assert json.loads((spec.folder / "has").read_text())["deaf_to"] == [signal.SIGINT]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    ("error", "heard"), [("ConnectionResetError", False), ("EOFError", False), ("ValueError", True)]
)
def test_a_loader_worker_whose_reader_ended_does_not_complain(error: str, heard: bool) -> None:
    """As ``multiprocessing.resource_sharer`` reports what goes wrong in its thread."""
    code = (
        "import sys\nfrom recbole_ext.runs.executors import _end_tidily_when_told\n_end_tidily_when_told()\n"
        f"try:\n    raise {error}('no reader')\nexcept BaseException:\n    sys.excepthook(*sys.exc_info())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert ("no reader" in done.stderr) is heard


@pytest.mark.parametrize("samples", ["auto", "augmented"])
def test_loader_workers_give_the_same_numbers(described: Callable[..., Path], tmp_path: Path, samples: str) -> None:
    metrics = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        config = {**CONFIG, "epochs": 2, "worker": workers, "training_samples": samples}
        run = first_run(described(folder, config=config))
        with LocalProcesses(1) as executor:
            assert executor.submit(run, False).result()
        made = RunRecord.read(run.record_path).done
        assert made.config["worker"] == workers
        metrics.append((made.validation, made.test, [epoch.train_loss for epoch in made.curve]))
    assert metrics[0] == metrics[1]


def test_ctrl_c_ends_runs_with_loader_workers_leaves_nothing_half_done_and_the_next_call_goes_on(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    path = described(
        tmp_path,
        models={name: {"hidden_size": 16, "epochs": epochs} for name, epochs in (("GRU4Rec", 1), ("SASRec", 100_000))},
        config={**CONFIG, "stopping_step": 100_000, "worker": 2, "training_samples": "augmented"},
    )
    runs = tmp_path / "results" / "trial" / "runs"
    dates = []
    for _ in range(2):
        process = start(path)
        wait_until(lambda: len(record_files(tmp_path)) == 1 and list(runs.glob(".*.lock")), process)
        time.sleep(1)  # into the long one
        os.killpg(process.pid, signal.SIGINT)
        code, said = finish(process)
        assert code == 130, said
        assert "the next call goes on" in said
        assert "Traceback" not in said and "leaked" not in said and "ignored" not in said
        (record,) = records_of(tmp_path)
        assert not list(runs.glob(".*")) and not list(tmp_path.rglob("*.pth"))
        dates.append(record.date)
        with pytest.raises(ProcessLookupError):
            time.sleep(2)
            os.killpg(process.pid, 0)
    assert dates[0] == dates[1]


def test_a_checkpoint_that_finds_no_room_fails_its_run_and_is_gone(
    described: Callable[..., Path], tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(16)
    run = first_run(described(tmp_path, artifacts=str(disk)))
    with LocalProcesses(1) as executor:
        assert executor.submit(run, False).result()
    (record,) = records_of(tmp_path)
    assert record.status == "failed" and record.error is not None
    assert f"{run.name}.pth can't be written" in record.error and "Nothing half-written was left" in record.error
    assert not [path for path in disk.rglob("*") if path.is_file()]


def test_a_disk_that_is_full_ends_the_grid_with_one_message_and_leaves_nothing_half_written(
    described: Callable[..., Path], tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(64)
    (disk / "ballast").write_bytes(bytes(60 * 1024))
    path = described(tmp_path, results=str(disk / "results"), seeds=[1, 2])
    code, said = finish(start(path))
    assert code == 2, said
    assert "can't be written: No space left on device" in said and "Traceback" not in said
    assert not list((disk / "results" / "trial" / "runs").iterdir()) and not list(disk.rglob(".*"))
    (disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    code, said = finish(start(path))
    assert code == 0, said


def test_a_grid_whose_run_was_killed_ends_after_a_second_call_as_one_that_nobody_disturbed(
    grid_of: Callable[..., Path], undisturbed: SimpleNamespace, tmp_path: Path
) -> None:
    path = grid_of(tmp_path)

    def is_run(child: psutil.Process) -> bool:
        return child.ppid() != process.pid  # the grid's own child is the server that runs are forked from

    process = start(path, "--parallel_runs=2")
    kill_a_run(process, tmp_path, is_run)
    code, said = finish(process)
    assert code == 1, said
    records = records_of(tmp_path)
    (failed,) = [record for record in records if record.status == "failed"]
    assert failed.error is not None and "killed (signal 9)" in failed.error
    assert f"{failed.run} failed: its process was killed" in said
    done = {record.run: record.date for record in records if record.status == "done"}
    assert len(done) >= 3

    code, said = finish(start(path, "--parallel_runs=2"))
    assert code == 0, said
    assert tables(tmp_path) == undisturbed.table
    again = {record.run: record.date for record in records_of(tmp_path)}
    assert undisturbed.runs <= set(again)
    assert {run: again[run] for run in done} == done


@pytest.mark.slow
def test_a_grid_that_was_killed_itself_goes_on_where_it_was(
    grid_of: Callable[..., Path], undisturbed: SimpleNamespace, tmp_path: Path
) -> None:
    path = grid_of(tmp_path)
    process = start(path, "--parallel_runs=2")
    kill_a_run(process, tmp_path, lambda child: True)  # any of its processes; then the grid and what it left
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, said = finish(start(path, "--parallel_runs=2"))
    assert code == 0, said
    assert tables(tmp_path) == undisturbed.table


@pytest.mark.slow
def test_two_calls_on_the_same_results_share_the_runs(
    grid_of: Callable[..., Path], undisturbed: SimpleNamespace, tmp_path: Path
) -> None:
    path = grid_of(tmp_path)
    calls = [start(path), start(path, "--parallel_runs=1")]
    for call in calls:
        code, said = finish(call)
        assert code == 0, said
        assert "Traceback" not in said
    assert tables(tmp_path) == undisturbed.table
    assert {record.run for record in records_of(tmp_path)} == undisturbed.runs
    assert not list((tmp_path / "results" / "trial" / "runs").glob(".*"))
    assert not list(tmp_path.rglob("*.pth"))
