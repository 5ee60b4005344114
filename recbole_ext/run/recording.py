"""The one code path of a run, whoever executes it: claim it, run it, and leave a record whatever becomes of it."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone
from typing import Any

from recbole_ext.claims import claim
from recbole_ext.errors import RecboleExtError
from recbole_ext.run.spec import RunSpec
from recbole_ext.writing import write_json

log = logging.getLogger(__name__)


class RunDied(Exception):
    """The process of a run ended without having recorded anything; the message says how."""


def record_run(spec: RunSpec, threads: int, wait: bool) -> bool:
    """Run ``spec`` in this process, with ``threads`` threads, and record it as done or failed.

    Two calls on the same results folder share its runs: a run that another process is on is left to it, and
    ``False`` is returned at once; with ``wait``, when it ended, and if it ended without a record, the run is done here.
    """
    before = _state(spec)
    with claim(spec.claim_path, wait) as ours:
        if not ours:
            return False
        if not is_done(spec) and _state(spec) == before:
            _run(spec, threads)
    return True


def record_death(spec: RunSpec, error: Exception) -> bool:
    """Record as failed a run whose process died of ``error``, unless another process is already on it again."""
    with claim(spec.claim_path, wait=False) as ours:
        if ours and not is_done(spec):
            message = str(error).strip()
            name = "" if isinstance(error, RunDied) else f"{type(error).__name__}: "
            _record_failure(spec, name + message.partition("\n")[0], message)
    return ours


def is_done(spec: RunSpec) -> bool:
    """Whether a finished record of exactly this run exists, and the store that it is to make."""
    if spec.exports and not spec.exports.exists():
        return False
    record = read_record(spec)
    return (
        record is not None
        and record.get("status") == "done"
        and record.get("fingerprints", {}).get("run") == spec.fingerprint
    )


def read_record(spec: RunSpec) -> dict[str, Any] | None:
    """The run's record, or ``None`` where there is none that can be read."""
    try:
        record = json.loads(spec.record_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _run(spec: RunSpec, threads: int) -> None:
    import torch

    from recbole_ext.run.single import run_once
    from recbole_ext.run.worker import quiet_recbole

    torch.set_num_threads(threads)
    quiet_recbole()
    try:
        run_once(spec)
    except RecboleExtError as error:
        _record_failure(spec, str(error), traceback.format_exc())
    except Exception as error:
        _record_failure(spec, f"{type(error).__name__}: {error}", traceback.format_exc())


def _record_failure(spec: RunSpec, error: str, trace: str) -> None:
    write_json(
        spec.record_path,
        {
            **spec.identity(),
            "status": "failed",
            "error": error,
            "traceback": trace,
            "command": spec.command,
            "fingerprints": {"run": spec.fingerprint},
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )


def _state(spec: RunSpec) -> tuple[int, int] | None:
    """Changes whenever somebody writes the record."""
    try:
        stat = spec.record_path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
