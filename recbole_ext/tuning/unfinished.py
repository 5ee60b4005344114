"""``OUT.partial``: what an interrupted tuning has, so that the next call can go on; and who of several may touch it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_ext.errors import TuningError, WriteError
from recbole_ext.writing import write_json

_REQUEST = "request.json"


def number_of_processes() -> int:
    """How many ``torchrun`` started; it gives each a ``LOCAL_RANK``, which what else sets ``WORLD_SIZE`` need not."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1


def is_writer() -> bool:
    """Whether this process writes: it is alone, or the first of those that ``torchrun`` started."""
    return number_of_processes() == 1 or int(os.environ.get("RANK", 0)) == 0


@contextmanager
def unfinished(partial: Path, identity: str, request: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder for the checkpoints of the tuning ``identity``, which is in ``partial``.

    Afterwards ``partial`` is gone, unless the block ended early and there is a checkpoint to go on from. Of several
    processes, the writer alone makes and removes it.

    Args:
        request: what ``identity`` is the hash of, to say how another tuning's folder differs.

    Raises:
        TuningError: ``partial`` belongs to another tuning, or is something else.
        WriteError: it can't be written; a failed write within the block says what is kept.
    """
    checkpoints = partial / "checkpoints"
    if not is_writer():
        yield checkpoints
        return
    _claim(partial, identity, request)
    try:
        yield checkpoints
    except BaseException as error:
        last = last_checkpoint(checkpoints)
        if last is None:
            shutil.rmtree(partial, ignore_errors=True)
        elif isinstance(error, WriteError):
            kept = f"{last} is kept: free some space and repeat the command, and it goes on from there."
            raise WriteError(error.target, error.reason, kept) from error
        raise
    shutil.rmtree(partial, ignore_errors=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in ``folder``, by its step."""
    found = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*") if _is_whole(path)}
    return found[max(found)] if found else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        # The file that transformers' Trainer writes last.
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _claim(partial: Path, identity: str, request: dict[str, Any]) -> None:
    path = partial / _REQUEST
    if path.is_file():
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
            is_another = other["identity"] != identity
            differing = [key for key in request if other["request"].get(key) != request[key]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TuningError(
                f"{path} is damaged, and nothing else says which tuning {partial} holds: remove that folder, or choose "
                "another --out."
            ) from error
        if is_another:
            raise TuningError(
                f"{partial} holds an unfinished tuning with other {' and '.join(differing)}: finish it with its own "
                "settings, remove it, or choose another --out."
            )
    elif partial.exists() and any(partial.iterdir()):
        raise TuningError(f"{partial} exists and was not written by `tune`: choose another --out.")
    else:
        write_json(path, {"identity": identity, "request": request})
