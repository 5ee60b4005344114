"""The one code path of a run, whoever executes it: claim it, run it, and leave a record whatever becomes of it."""

from __future__ import annotations

import logging
import time
import traceback
from functools import partial

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.claims import claim
from recbole_ext.errors import ConfigurationError
from recbole_ext.machine import without_home
from recbole_ext.records import RunRecord
from recbole_ext.records.record import Fingerprints
from recbole_ext.runs.endings import in_words
from recbole_ext.runs.gpus import require_given
from recbole_ext.runs.progress import Progress, remove_progress, tell_progress, write_progress
from recbole_ext.runs.together import ProcessFailed, run_together

log = logging.getLogger(__name__)


class RunDied(Exception):
    """The process of a run ended without having recorded anything; the message says how."""


def record_run(spec: RunSpec, threads: int, wait: bool, gpus: str = "") -> bool:
    """Run ``spec`` in this process, with ``threads`` threads, and record it as done or failed; ``gpus``: those that it
    was given, without which it fails.

    Two calls on the same results folder share its runs: a run that another process is on is left to it, and
    ``False`` is returned at once; with ``wait``, when it ended, and if it ended without a record, the run is done here.
    """
    before = _state(spec)
    with claim(spec.claim_path, wait) as ours:
        if not ours:
            return False
        if not is_done(spec) and _state(spec) == before:
            _run(spec, threads, gpus)
    return True


def record_death(spec: RunSpec, error: Exception) -> bool:
    """Record as failed a run whose process died of ``error``, unless another process is already on it again."""
    with claim(spec.claim_path, wait=False) as ours:
        if ours and not is_done(spec):
            message = str(error).strip()
            name = "" if isinstance(error, RunDied) else f"{type(error).__name__}: "
            _record_failure(spec, name + message.partition("\n")[0], message)
        if ours:
            remove_progress(spec.progress_path)
    return ours


def forget_progress(spec: RunSpec) -> None:
    """Remove what a run that nobody is on says of how far it is: it was killed together with what waited for it."""
    if spec.progress_path.exists():
        with claim(spec.claim_path, wait=False) as ours:
            if ours:
                remove_progress(spec.progress_path)


def is_done(spec: RunSpec) -> bool:
    """Whether a finished record of exactly this run exists, and the store and the weights that it is to leave."""
    if spec.exports and not spec.exports.exists():
        return False
    record = _finished_record(spec)
    if record is None:
        return False
    return not spec.keep_checkpoint or (record.done.checkpoint is not None and spec.weights_path.is_file())


def _finished_record(spec: RunSpec) -> RunRecord | None:
    """The record of exactly this run, where it has finished."""
    record = read_record(spec)
    finished = record is not None and record.status == "done" and record.fingerprints.run == spec.identity
    return record if finished else None


def read_record(spec: RunSpec) -> RunRecord | None:
    """The run's record, or ``None`` where there is none that can be read."""
    try:
        return RunRecord.read(spec.record_path)
    except (OSError, ConfigurationError):
        return None


def _run(spec: RunSpec, threads: int, gpus: str) -> None:
    import torch

    from recbole_ext.runs.single import run_once
    from recbole_ext.runs.worker import quiet_recbole

    torch.set_num_threads(threads)
    quiet_recbole()
    began = time.time()
    write_progress(spec.progress_path, Progress())
    tell = partial(tell_progress, spec.progress_path, began)
    try:
        require_given(gpus)
        if spec.processes > 1:
            run_together(spec, threads, tell)
        else:
            run_once(spec, tell)
    except ProcessFailed as failed:
        _record_failure(spec, str(failed), failed.trace)
    except Exception as error:
        _record_failure(spec, in_words(error), traceback.format_exc())
    finally:
        remove_progress(spec.progress_path)


def _record_failure(spec: RunSpec, error: str, trace: str) -> None:
    """Leave a record of the failure, unless the run was only to be repeated for what it is to leave beside its record:
    what it found when it finished is as good as before."""
    from recbole_ext.runs.recorded import names_of

    if _finished_record(spec) is not None:
        log.error("%s failed: %s. The record of when it finished stays.", spec.name, without_home(error))
        return
    RunRecord(
        **names_of(spec),
        status="failed",
        fingerprints=Fingerprints(run=spec.identity, dataset=spec.dataset_fingerprint),
        error=without_home(error),
        traceback=without_home(trace),
    ).write(spec.record_path)


def _state(spec: RunSpec) -> tuple[int, int] | None:
    """Changes whenever somebody writes the record."""
    try:
        stat = spec.record_path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
