"""Where runs are executed: in processes of this machine, or as tasks of a Ray cluster. Each run has its own process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from recbole_ext.allocator import keep_freed_memory
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.errors import ConfigurationError, InstallationError, RecboleExtError
from recbole_ext.machine import threads_per_run
from recbole_ext.runs.endings import how_it_ended, kill
from recbole_ext.runs.gpus import Gpus
from recbole_ext.runs.recording import RunDied, record_run
from recbole_ext.scripts import unimportable_script

if TYPE_CHECKING:
    from recbole_ext.benchmark.settings import Benchmark

_CLAIMED = os.EX_TEMPFAIL
SECONDS_TO_END = 30
"""For a run that is told to end; then it is killed."""


class Executor(Protocol):
    """Executes :func:`recbole_ext.runs.recording.record_run`; a context, within which runs can be submitted."""

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
        return RayTasks(benchmark.ray_address, benchmark.cpus_per_run or 1, benchmark.gpus_per_run)
    return LocalProcesses(benchmark.parallel_runs, benchmark.cpus_per_run)


class LocalProcesses:
    """``parallel`` runs at a time on this machine, each with its share of the cores and, where there are, of the GPUs.

    Args:
        cpus: threads of a run, if not its share of the cores.
    """

    def __init__(self, parallel: int, cpus: int | None = None) -> None:
        self._threads = cpus or threads_per_run(parallel)
        self._gpus = Gpus()
        self._pool = ThreadPoolExecutor(parallel)
        self._running: set[BaseProcess] = set()
        self._stopped = False
        # Around all that looks at a process: where two threads ask how one ended, the second gets a wrong answer.
        self._processes = Lock()

    def submit(self, spec: RunSpec, wait: bool) -> Future[bool]:
        return self._pool.submit(self._run, spec, wait)

    def stop(self) -> None:
        with self._processes:  # A run that a thread is about to start would outlive the others.
            self._stopped = True
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in self._running:
                process.terminate()
        deadline = time.monotonic() + SECONDS_TO_END
        try:
            while self._running and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:  # also where the user presses Ctrl-C again
            with self._processes:
                for process in self._running:
                    kill(process)

    def _run(self, spec: RunSpec, wait: bool) -> bool:
        with self._gpus.for_run(spec.config, spec.processes) as gpus:
            with self._processes:
                if self._stopped:
                    raise RunDied("stopped before it began")
                process = _start(_in_process, spec, self._threads, gpus, wait)
                self._running.add(process)
            connection.wait([process.sentinel])
            with self._processes:
                process.join()
                self._running.remove(process)
        if process.exitcode not in (0, _CLAIMED):
            raise RunDied(how_it_ended(process.exitcode))
        return process.exitcode == 0

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.stop()
        self._pool.shutdown()


def _start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process forked from one that has torch and RecBole loaded.

    It has its own memory, to be measured and to be lost, without loading them again. It does not hear Ctrl-C, which
    reaches every process of the terminal: the command alone decides what becomes of its runs.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recbole_ext.runs.worker"])
    resource_tracker.ensure_running()  # first, for where it is started it lets the signal through again
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
    # No daemon, which might have no children: RecBole's `worker` is their number.
    process = context.Process(target=target, args=arguments, daemon=False)
    with unimportable_script():
        process.start()
    return process


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
        self._check_gpus(spec)
        reference = self._task.remote(spec, str(Path.cwd()), self._cpus, wait)
        self._submitted.append(reference)
        return reference.future()

    def stop(self) -> None:
        import ray

        for reference in self._submitted:
            ray.cancel(reference)  # which ends it from within, as Ctrl-C would
        if self._submitted:
            ray.wait(self._submitted, num_returns=len(self._submitted), timeout=SECONDS_TO_END)
        for reference in self._submitted:
            ray.cancel(reference, force=True)

    @cached_property
    def _machines(self) -> list[dict[str, float]]:
        """What each machine of the cluster has; Ray is started or joined."""
        # Set before the import, which reads it. A benchmark reports to nobody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        try:
            import pyarrow  # noqa: F401  (as Ray does, deep in its serialization)
        except ModuleNotFoundError:
            pass  # Ray needs none
        except ImportError as error:
            raise InstallationError(
                f"executor: ray can't start ({error}); type: pip install --upgrade numpy pyarrow"
            ) from error
        try:
            ray.init(
                address=self._address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except Exception as error:  # Ray has none of its own for what can be wrong with a cluster
            raise ConfigurationError(
                f"ray_address: no Ray cluster at {self._address or 'RAY_ADDRESS'}: {error}. Start one with "
                "`ray start --head`, or set ray_address to `local` for one of this command's own."
            ) from error
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    @cached_property
    def _task(self) -> Any:
        self._check_room()
        import ray

        # One run per worker process, and no second try: that is what the next call is for.
        return ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_calls=1, max_retries=0)(_in_worker)

    def _check_gpus(self, spec: RunSpec) -> None:
        """A run that Ray gives no GPU would train on a processor beside idle GPUs, without a word."""
        there_are = any(machine.get("GPU", 0) for machine in self._machines)
        if there_are and not self._gpus and spec.config.get("use_gpu") is not False:
            raise ConfigurationError(
                "gpus_per_run: 0, but the Ray cluster has GPUs, and no run would use one. Set gpus_per_run: 1, or 0.5 "
                "for two runs a GPU; or say use_gpu: false to train on processors."
            )

    def _check_room(self) -> None:
        """Ray would let a run that no machine has room for wait for ever."""
        room = [(machine.get("CPU", 0), machine.get("GPU", 0)) for machine in self._machines]
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

            if error[0] is not None:  # on a cluster that others use too, its tasks would go on
                self.stop()
            ray.shutdown()


def _in_process(spec: RunSpec, threads: int, gpus: str, wait: bool) -> None:
    _end_tidily_when_told()
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus  # which torch reads when it first looks for a GPU, and not again
    try:
        recorded = _record(spec, threads, wait, gpus)
    except (OSError, RecboleExtError) as error:  # in the recording itself: what fails in a run is recorded
        raise SystemExit(f"{spec.name}: {error}") from error
    if not recorded:
        raise SystemExit(_CLAIMED)


def _end_tidily_when_told() -> None:
    """Let SIGTERM end this process from within: what is half-written, its claim and its children go with it."""

    told = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        raise SystemExit(128 + signal.SIGTERM)

    def unraisable(error: sys.UnraisableHookArgs) -> None:
        if error.exc_type is SystemExit:
            # It came where Python lets no exception out, such as the hooks around a fork of a loader's worker: again.
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        elif not told:  # What is torn down half-made complains, and nobody needs to hear it.
            sys.__unraisablehook__(error)

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        # Only the thread that hands a loader's tensors to the run comes here, also in the loader's workers, which this
        # process forks. Who reads from it may have ended in the middle of a message.
        if not told and not issubclass(kind, (ConnectionError, EOFError)):
            sys.__excepthook__(kind, error, trace)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    sys.unraisablehook = unraisable
    sys.excepthook = uncaught


def _in_worker(spec: RunSpec, folder: str, threads: int, wait: bool) -> bool:
    import ray

    os.chdir(folder)
    gpus = ",".join(map(str, ray.get_gpu_ids()))
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all GPUs to a task that asked for none
    return _record(spec, threads, wait, gpus)


def _record(spec: RunSpec, threads: int, wait: bool, gpus: str) -> bool:
    """``record_run`` in a process that is there for it alone."""
    keep_freed_memory()
    return record_run(spec, threads, wait, gpus)
