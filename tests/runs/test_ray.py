"""Runs as Ray tasks: the tables of local processes, whatever happens to a worker or to a machine of the cluster."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from started_grids import CONFIG, executor_for, finish, first_run, kill_a_run, records_of, start, tables, wait_until

from recbole_ext.errors import ConfigurationError, InstallationError
from recbole_ext.runs import executors
from recbole_ext.runs.executors import RayTasks
from recbole_ext.runs.recording import is_done


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
    records = records_of(on_ray.parent)
    (failed,) = [record for record in records if record.status == "failed"]
    assert failed.error is not None and "WorkerCrashedError" in failed.error
    done = {record.run: record.date for record in records if record.status == "done"}
    assert len(done) >= 3

    # The next call may be a local one: the records are the same.
    code, said = finish(start(on_ray, "--executor", "local"))
    assert code == 0, said
    assert tables(on_ray.parent) == undisturbed.table
    again = {record.run: record.date for record in records_of(on_ray.parent)}
    assert {run: again[run] for run in done} == done


@pytest.mark.slow
def test_ctrl_c_ends_ray_tasks_and_leaves_neither_record_nor_process(
    grid_of: Callable[..., Path], tmp_path: Path
) -> None:
    long = {**CONFIG, "epochs": 100_000, "stopping_step": 100_000}
    process = start(grid_of(tmp_path, executor="ray", ray_address="local", config=long))
    checkpoints = tmp_path / "artifacts" / "checkpoints"
    deadline = time.monotonic() + 600
    while len(list(checkpoints.rglob("*.pth"))) < 1 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    assert process.poll() is None, finish(process)
    below = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    assert "the next call goes on" in said and "Traceback" not in said
    assert not list((tmp_path / "results" / "trial" / "runs").iterdir()) and not list(tmp_path.rglob("*.pth"))
    _, alive = psutil.wait_procs(below, timeout=20)
    assert alive == []


@pytest.mark.slow
def test_a_run_that_no_machine_has_room_for_is_refused_rather_than_waited_for(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    spec = first_run(described(tmp_path))
    with RayTasks("local", cpus=1, gpus=64) as executor, pytest.raises(ConfigurationError, match="gpus_per_run: 64"):
        executor.submit(spec, False)
    assert not is_done(spec)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, None])
def test_whatever_error_ends_the_command_ends_its_tasks_on_the_cluster(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
) -> None:
    cancelled: list[str] = []
    ray = SimpleNamespace(
        cancel=lambda reference, force=False: cancelled.append(reference),
        wait=lambda references, **_: None,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    with suppress(RuntimeError, KeyboardInterrupt), RayTasks("auto", cpus=1, gpus=0) as executor:
        executor._submitted.append("task")
        if error:
            raise error
    assert set(cancelled) == ({"task"} if error else set())


@pytest.mark.parametrize(
    ("gpus", "use_gpu", "refused"), [(0, None, True), (0, True, True), (0, False, False), (0.5, None, False)]
)
def test_a_cluster_whose_gpus_no_run_would_use_is_refused(
    described: Callable[..., Path], tmp_path: Path, gpus: float, use_gpu: bool | None, refused: bool
) -> None:
    spec = first_run(described(tmp_path))
    spec = replace(spec, config={**spec.config, "use_gpu": use_gpu})
    executor = RayTasks("auto", cpus=1, gpus=gpus)
    executor._machines = [{"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0}]
    sent: list[tuple[Any, ...]] = []
    future = SimpleNamespace(future=lambda: "the future")

    def remote(*arguments: Any) -> Any:
        sent.append(arguments)
        return future

    executor._task = SimpleNamespace(remote=remote)
    if refused:
        with pytest.raises(ConfigurationError, match="gpus_per_run: 0, .*gpus_per_run: 1.*use_gpu: false"):
            executor.submit(spec, False)
    else:
        assert executor.submit(spec, False) == "the future"
    assert len(sent) == (0 if refused else 1)


def test_a_cluster_without_gpus_asks_for_none(described: Callable[..., Path], tmp_path: Path) -> None:
    executor = RayTasks("auto", cpus=1, gpus=0)
    executor._machines = [{"CPU": 4.0}]
    executor._task = SimpleNamespace(remote=lambda *arguments: SimpleNamespace(future=lambda: "the future"))
    assert executor.submit(first_run(described(tmp_path)), False) == "the future"


def test_the_executor_and_its_resources_can_be_given_on_the_command_line(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    overrides = {"executor": "ray", "ray_address": "auto", "cpus_per_run": 4, "gpus_per_run": 0.5}
    executor = executor_for(described(tmp_path), **overrides)
    assert isinstance(executor, RayTasks)
    assert vars(executor) == {"_address": "auto", "_cpus": 4, "_gpus": 0.5, "_submitted": []}


def test_ray_that_is_not_installed_is_said_with_the_line_to_type(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(InstallationError, match="ray is not installed; type: pip install 'ray"):
        executor_for(described(tmp_path), executor="ray")


def test_a_pyarrow_that_cannot_be_imported_is_said_with_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    (tmp_path / "pyarrow.py").write_text("raise ImportError('pyarrow requires NumPy 2.0 or newer, found 1.26.0')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    with pytest.raises(InstallationError, match="pyarrow requires NumPy 2.0 .* type: pip install --upgrade numpy"):
        RayTasks("local", cpus=1, gpus=0)._task  # noqa: B018


# --- several machines: Ray's own nodes, on this one ---


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head with room for one run, and room to add nodes."""
    utility = pytest.importorskip("ray.cluster_utils")
    cluster = utility.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_a_machine_that_is_lost_fails_its_runs_alone_and_the_next_call_completes_the_table(
    grid_of: Callable[..., Path], undisturbed: SimpleNamespace, cluster: Any, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1)
    path = grid_of(tmp_path, executor="ray", ray_address=cluster.address, cpus_per_run=1)
    process = start(path)
    wait_until(lambda: records_of(tmp_path), process)
    wait_until(lambda: len(list((tmp_path / "artifacts" / "checkpoints").rglob("*.pth"))) == 2, process)
    cluster.remove_node(node, allow_graceful=False)
    code, said = finish(process)
    assert code == 1, said
    records = records_of(tmp_path)
    (failed,) = [record for record in records if record.status == "failed"]
    done = {record.run: record.date for record in records if record.status == "done"}
    assert len(done) >= 3, "the machine that is left goes on"

    code, said = finish(start(path))
    assert code == 0, said
    assert tables(tmp_path) == undisturbed.table
    again = {record.run: record.date for record in records_of(tmp_path)}
    assert {run: again[run] for run in done} == done and failed.run in again


@pytest.mark.slow
def test_a_head_that_is_started_again_goes_on_where_the_grid_was(
    grid_of: Callable[..., Path], undisturbed: SimpleNamespace, cluster: Any, tmp_path: Path
) -> None:
    path = grid_of(tmp_path, executor="ray", cpus_per_run=1)
    process = start(path, f"--ray_address={cluster.address}")
    wait_until(lambda: records_of(tmp_path), process)
    cluster.shutdown()
    code, said = finish(process)
    assert code != 0 and "Traceback" not in said, said
    done = {record.run: record.date for record in records_of(tmp_path) if record.status == "done"}
    cluster.add_node(num_cpus=1, include_dashboard=False)  # the first of a cluster is its head
    code, said = finish(start(path, f"--ray_address={cluster.address}"))
    assert code == 0, said
    assert tables(tmp_path) == undisturbed.table
    again = {record.run: record.date for record in records_of(tmp_path)}
    assert {run: again[run] for run in done} == done
