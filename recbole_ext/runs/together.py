"""One run in several processes of this machine: they begin together, and when one of them fails, all of them end."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.runs.endings import how_it_ended, in_words, kill

if TYPE_CHECKING:
    from recbole_ext.training.trainer import OnEpoch

SECONDS_TO_END = 10
"""For a process that is told to end; one that waits for another inside of torch does not hear it, and is killed."""


class ProcessFailed(Exception):
    """A process of a run failed, or died; the message says of what."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


def run_together(spec: RunSpec, threads: int, on_epoch: OnEpoch) -> None:
    """:func:`recbole_ext.runs.single.run_once` in ``spec.processes`` processes, of which one writes the record.

    This process computes nothing. It looks after the others: a library that waits for a process that is dead, as NCCL
    does for minutes, can't keep a run from ending.

    Args:
        threads: that they share.

    Raises:
        ProcessFailed: one of them failed or died. The others were ended, and nothing half-written is left.
    """
    # Forked, they share what is loaded already. (On macOS, forking a process that has threads is not safe.)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    errors = context.SimpleQueue()
    each = max(1, threads // spec.processes)
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_process, args=(spec, number, each, folder, on_epoch, errors))
            for number in range(spec.processes)
        ]
        try:
            for process in processes:
                process.start()
            _wait(processes)
            if any(process.exitcode != 0 for process in processes):
                raise _failure(processes, errors)
        finally:
            _end(processes)
            spec.checkpoint_path.unlink(missing_ok=True)


def _wait(processes: Sequence[BaseProcess]) -> None:
    """Until all have ended, or one has failed."""
    while all(process.exitcode in (None, 0) for process in processes):
        running = [process.sentinel for process in processes if process.exitcode is None]
        if not running:
            return
        connection.wait(running)


def _failure(processes: Sequence[BaseProcess], errors: Any) -> ProcessFailed:
    """What ended the first that failed; the others then fail because it is gone."""
    killed = [number for number, process in enumerate(processes) if (process.exitcode or 0) < 0]
    if not killed and not errors.empty():
        return ProcessFailed(*errors.get())
    failed = killed or [number for number, process in enumerate(processes) if process.exitcode]
    how = f"process {failed[0] + 1} of {len(processes)}: {how_it_ended(processes[failed[0]].exitcode)}"
    return ProcessFailed(how, how)


def _end(processes: Sequence[BaseProcess]) -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.terminate()
    for process in alive:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            kill(process)
            process.join()


def _process(spec: RunSpec, number: int, threads: int, folder: str, on_epoch: OnEpoch, errors: Any) -> None:
    _end_with_parent()
    # Each sees one GPU, of those that the run was given, as the process of any run does.
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number].strip() if number < len(gpus) else ""

    import torch

    from recbole_ext.runs.single import run_once, take_part
    from recbole_ext.runs.worker import quiet_recbole
    from recbole_ext.training.team import Team

    torch.set_num_threads(threads)
    team = Team(number, spec.processes)
    try:
        with team.together(Path(folder)):
            if team.leads:
                quiet_recbole()
                run_once(spec, on_epoch, team)
            else:
                logging.disable()  # it would say the same again
                take_part(spec, team)
    except Exception as error:
        # More than a pipe holds would wait for a reader, and the reader waits for this process to end.
        errors.put((in_words(error)[:4_000], traceback.format_exc()[-20_000:]))
        raise SystemExit(1) from error


def _end_with_parent() -> None:
    """Who looks after this process may be killed; nobody would then count it among the runs under way."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
