"""Where runs are executed: in processes of this machine, or as tasks of a Ray cluster. Each run has its own process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from recbole_ext.errors import ConfigurationError, InstallationError
from recbole_ext.run.machine import cores
from recbole_ext.run.recording import RunDied, record_run
from recbole_ext.run.spec import RunSpec

if TYPE_CHECKING:
    from recbole_ext.run.benchmark import Benchmark

_CLAIMED = os.EX_TEMPFAIL


class Executor(Protocol):
    """Executes :func:`recbole_ext.run.recording.record_run`; a context, within which runs can be submitted."""

    def submit(self, spec: RunSpec, wait: bool) -> Future[bool]:
        """What ``record_run`` returns, in a process of its own; an exception where that process died."""

    def stop(self) -> None:
        """Start no further run and end those that are under way; none of them leaves a record."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


def executor_of(benchmark: Benchmark) -> Executor:
    """The executor that the benchmark's ``executor`` names.

    Raises:
        InstallationError: it is Ray, which is not installed.
        ConfigurationError: there is no such Ray cluster, or none of its machines has what a run asks for.
    """
    if benchmark.executor == "ray":
        if find_spec("ray") is None:
            raise InstallationError("executor: ray is not installed; type: pip install 'ray>=2.50'")
        return RayTasks(benchmark.ray_address, benchmark.cpus_per_run, benchmark.gpus_per_run)
    return LocalProcesses(benchmark.parallel_runs)


class LocalProcesses:
    """``parallel`` runs at a time on this machine, each with its share of the cores."""

    def __init__(self, parallel: int) -> None:
        self._threads = max(1, cores() // parallel)
        self._pool = ThreadPoolExecutor(parallel)
        self._processes: list[BaseProcess] = []
        self._stopped = False
        self._starting = Lock()

    def submit(self, spec: RunSpec, wait: bool) -> Future[bool]:
        return self._pool.submit(self._run, spec, wait)

    def stop(self) -> None:
        with self._starting:  # A run that a thread is about to start would outlive the others.
            self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.terminate()

    def _run(self, spec: RunSpec, wait: bool) -> bool:
        # Forked from a process that has torch and RecBole loaded: each run has its own memory, to be measured and to
        # be lost, without loading them again.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["recbole_ext.run.worker"])
        process = context.Process(target=_in_process, args=(spec, self._threads, wait), daemon=True)
        with self._starting:
            if self._stopped:
                raise RunDied("stopped before it began")
            process.start()
            self._processes.append(process)
        process.join()
        if process.exitcode not in (0, _CLAIMED):
            raise RunDied(f"the process ended with exit code {process.exitcode} (killed, or out of memory)")
        return process.exitcode == 0

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()


class RayTasks:
    """Every run a task on a Ray cluster, as many at a time as its machines have room for.

    All machines need this package and, under the same paths, the folder that the command was started in, datasets and
    results: a file system that they share. Ray is started or joined when there is a first run to submit.
    """

    def __init__(self, address: str | None, cpus: int, gpus: float) -> None:
        self._address = address
        self._cpus = cpus
        self._gpus = gpus
        self._submitted: list[Any] = []

    def submit(self, spec: RunSpec, wait: bool) -> Future[bool]:
        reference = self._task.remote(spec, str(Path.cwd()), self._cpus, wait)
        self._submitted.append(reference)
        return reference.future()

    def stop(self) -> None:
        import ray

        for reference in self._submitted:
            ray.cancel(reference, force=True)

    @cached_property
    def _task(self) -> Any:
        # Set before the import, which reads it. A benchmark reports to nobody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        try:
            ray.init(
                address=self._address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"ray_address: no Ray cluster at {self._address or 'RAY_ADDRESS'}: {error}. Start one with "
                "`ray start --head`, or set ray_address to `local` for one of this command's own."
            ) from error
        except ImportError as error:  # Ray imports pyarrow where there is one, and a new one can't be beside numpy 1
            raise InstallationError(
                f"executor: ray can't start ({error}); type: pip install --upgrade numpy pyarrow"
            ) from error
        self._check_room([node["Resources"] for node in ray.nodes() if node["Alive"]])
        # One run per worker process, and no second try: that is what the next call is for.
        return ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_calls=1, max_retries=0)(_in_worker)

    def _check_room(self, machines: list[dict[str, float]]) -> None:
        """Ray would let a run that no machine has room for wait for ever."""
        room = [(machine.get("CPU", 0), machine.get("GPU", 0)) for machine in machines]
        if not any(cpus >= self._cpus and gpus >= self._gpus for cpus, gpus in room):
            there_is = ", ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in room)
            raise ConfigurationError(
                f"no machine of the Ray cluster has cpus_per_run: {self._cpus} and gpus_per_run: {self._gpus:g}; there "
                f"is one with {there_is}. Ask for less, or start Ray on a larger machine."
            )

    def __enter__(self) -> RayTasks:
        return self

    def __exit__(self, *error: object) -> None:
        if "ray" in sys.modules:
            import ray

            ray.shutdown()


def _in_process(spec: RunSpec, threads: int, wait: bool) -> None:
    if not record_run(spec, threads, wait):
        raise SystemExit(_CLAIMED)


def _in_worker(spec: RunSpec, folder: str, threads: int, wait: bool) -> bool:
    os.chdir(folder)
    return record_run(spec, threads, wait)
