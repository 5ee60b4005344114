"""Runs in processes of this machine and as Ray tasks: the same records, whatever happens to a process on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from recbole_ext.errors import ConfigurationError, InstallationError
from recbole_ext.report import load_records
from recbole_ext.run import executors
from recbole_ext.run.benchmark_file import load_benchmark
from recbole_ext.run.executors import LocalProcesses, RayTasks, executor_of
from recbole_ext.run.recording import RunDied, is_done
from recbole_ext.run.spec import RunSpec, expand

SEARCH = [{"hidden_dropout_prob": 0.1}, {"hidden_dropout_prob": 0.8}]
CONFIG: dict[str, Any] = {"train_batch_size": 64, "topk": [1, 5, 10], "use_gpu": False, "epochs": 6}
CHECKOUT = Path(__file__).resolve().parents[2]


def kill_itself(spec: RunSpec, threads: int, wait: bool) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """``recbole-ext run`` in a process group of its own, one thread per run."""
    return subprocess.Popen(
        [sys.executable, "-m", "recbole_ext", "run", str(path), *arguments],
        cwd=path.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it said."""
    out, errors = process.communicate(timeout=300)
    return process.returncode, out + errors


def tables(folder: Path) -> str:
    return (folder / "results" / "trial" / "leaderboard.csv").read_text()


def kill_a_run(process: subprocess.Popen[str], folder: Path, is_run: Callable[[psutil.Process], bool]) -> None:
    """SIGKILL to one of the grid's runs once it is training: its checkpoint is there."""
    checkpoints = folder / "artifacts" / "checkpoints" / "trial"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if list(checkpoints.glob("*.pth")):
                for child in psutil.Process(process.pid).children(recursive=True):
                    if is_run(child):
                        child.kill()
                        return
        time.sleep(0.05)
    raise AssertionError("no run was seen training: " + "".join(finish(process)[1]))


@pytest.fixture(scope="module")
def grid_of(described: Callable[..., Path], store_of: Callable[..., Path]) -> Callable[..., Path]:
    """``grid_of(folder)``: a benchmark file of two initialisations, two points each, two seeds."""

    def grid_of(folder: Path, **keys: Any) -> Path:
        store = store_of([f"i{item}" for item in range(60)], folder / "store")
        inits = {"none": {}, "vectors": {"store": str(store)}}
        whole = {"initialisations": inits, "search": SEARCH, "seeds": [1, 2], "config": CONFIG}
        return described(folder, **{**whole, **keys})

    return grid_of


@pytest.fixture(scope="module")
def undisturbed(grid_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("undisturbed")
    code, said = finish(start(grid_of(folder), "--parallel_runs=2"))
    assert code == 0, said
    records = load_records(folder / "results" / "trial")
    return SimpleNamespace(folder=folder, table=tables(folder), runs={record["run"] for record in records})


# --- processes of this machine ---


def test_local_processes_are_the_default_and_import_no_ray(described: Callable[..., Path], tmp_path: Path) -> None:
    assert isinstance(executor_of(load_benchmark(described(tmp_path))), LocalProcesses)
    code = "import sys, recbole_ext.run.grid; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout == "False\n"


def test_a_killed_process_is_told_by_its_exit_code(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = expand(load_benchmark(described(tmp_path)), "")
    monkeypatch.setattr(executors, "_in_process", kill_itself)
    with LocalProcesses(1) as executor, pytest.raises(RunDied, match="exit code -9 \\(killed, or out of memory\\)"):
        executor.submit(spec, False).result()


def test_no_run_starts_after_the_stop(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = expand(load_benchmark(described(tmp_path)), "")
    monkeypatch.setattr(executors, "_in_process", kill_itself)
    with LocalProcesses(1) as executor:
        executor._stopped = True  # as stop() leaves it for a thread that is about to start its run
        with pytest.raises(RunDied, match="stopped before it began"):
            executor.submit(spec, False).result()


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
    records = load_records(tmp_path / "results" / "trial")
    (failed,) = [record for record in records if record["status"] == "failed"]
    assert "exit code -9" in failed["error"]
    assert f"failed: {failed['run']}" in said
    done = {record["run"]: record["date"] for record in records if record["status"] == "done"}
    assert len(done) >= 3

    code, said = finish(start(path, "--parallel_runs=2"))
    assert code == 0, said
    assert tables(tmp_path) == undisturbed.table
    again = {record["run"]: record["date"] for record in load_records(tmp_path / "results" / "trial")}
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
    records = load_records(tmp_path / "results" / "trial")
    assert {record["run"] for record in records} == undisturbed.runs
    assert not list((tmp_path / "results" / "trial" / "runs").glob(".*"))
    assert not list(tmp_path.rglob("*.pth"))


# --- Ray ---


@pytest.fixture
def on_ray(grid_of: Callable[..., Path], tmp_path: Path) -> Iterator[Path]:
    """A grid on a Ray of its own, two runs at a time."""
    yield grid_of(tmp_path, executor="ray", ray_address="local")


@pytest.mark.slow
def test_ray_tasks_give_the_tables_of_local_processes(on_ray: Path, undisturbed: SimpleNamespace) -> None:
    code, said = finish(start(on_ray))
    assert code == 0, said
    assert tables(on_ray.parent) == undisturbed.table


@pytest.mark.slow
def test_a_ray_worker_that_was_killed_fails_its_run_alone_and_the_next_call_repeats_it(
    on_ray: Path, undisturbed: SimpleNamespace
) -> None:
    process = start(on_ray)
    kill_a_run(process, on_ray.parent, lambda child: "_in_worker" in " ".join(child.cmdline()))
    code, said = finish(process)
    assert code == 1, said
    records = load_records(on_ray.parent / "results" / "trial")
    (failed,) = [record for record in records if record["status"] == "failed"]
    assert "WorkerCrashedError" in failed["error"]
    done = {record["run"]: record["date"] for record in records if record["status"] == "done"}
    assert len(done) >= 3

    # The next call may be a local one: the records are the same.
    code, said = finish(start(on_ray, "--executor", "local"))
    assert code == 0, said
    assert tables(on_ray.parent) == undisturbed.table
    again = {record["run"]: record["date"] for record in load_records(on_ray.parent / "results" / "trial")}
    assert {run: again[run] for run in done} == done


@pytest.mark.slow
def test_ctrl_c_ends_ray_tasks_and_leaves_neither_record_nor_process(
    grid_of: Callable[..., Path], tmp_path: Path
) -> None:
    long = {**CONFIG, "epochs": 100_000, "stopping_step": 100_000}
    process = start(grid_of(tmp_path, executor="ray", ray_address="local", config=long))
    checkpoints = tmp_path / "artifacts" / "checkpoints" / "trial"
    deadline = time.monotonic() + 200
    while len(list(checkpoints.glob("*.pth"))) < 1 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    assert process.poll() is None, finish(process)
    below = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    assert "the next call goes on" in said and "Traceback" not in said
    assert not list((tmp_path / "results" / "trial" / "runs").glob("*.json"))
    _, alive = psutil.wait_procs(below, timeout=20)
    assert alive == []


@pytest.mark.slow
def test_a_run_that_no_machine_has_room_for_is_refused_rather_than_waited_for(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    (spec,) = expand(load_benchmark(described(tmp_path)), "")
    with RayTasks("local", cpus=1, gpus=64) as executor, pytest.raises(ConfigurationError, match="gpus_per_run: 64"):
        executor.submit(spec, False)
    assert not is_done(spec)


def test_the_executor_and_its_resources_can_be_given_on_the_command_line(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    overrides = {"executor": "ray", "ray_address": "auto", "cpus_per_run": 4, "gpus_per_run": 0.5}
    executor = executor_of(load_benchmark(described(tmp_path), overrides))
    assert isinstance(executor, RayTasks)
    assert vars(executor) == {"_address": "auto", "_cpus": 4, "_gpus": 0.5, "_submitted": []}


def test_ray_that_is_not_installed_is_said_with_the_line_to_type(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(InstallationError, match="ray is not installed; type: pip install 'ray"):
        executor_of(load_benchmark(described(tmp_path), {"executor": "ray"}))


def test_a_pyarrow_that_cannot_be_imported_is_said_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(**settings: Any) -> None:
        raise ImportError("pyarrow requires NumPy 2.0 or newer, found 1.26.0")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InstallationError, match="pyarrow requires NumPy 2.0 .* type: pip install --upgrade numpy"):
        RayTasks("local", cpus=1, gpus=0)._task  # noqa: B018
