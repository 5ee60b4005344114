"""Whose turn it is: one process at a time, also when several commands or machines share a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_held: set[int] = set()


@contextmanager
def claim(lock: Path, wait: bool) -> Iterator[bool]:
    """Hold ``lock`` for the block; yields whether it is ours. Without ``wait``, not when another process has it.

    The claim ends with the process that holds it, however that dies and whatever children outlive it, so no claim is
    ever stale; what a killed process leaves is an empty file that claims nothing. Machines that share the folder need
    a file system that passes ``flock`` on (NFS on Linux does).
    """
    file = _lock(lock, wait)
    if file is None:
        yield False
        return
    _held.add(file)
    try:
        yield True
    finally:
        lock.unlink(missing_ok=True)
        _held.discard(file)
        os.close(file)


def _lock(lock: Path, wait: bool) -> int | None:
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Whoever had it before us took the file away: a third process may already hold another of that name.
            if _is(file, lock):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _let_go() -> None:
    """In a forked child, such as a data loader's worker: a claim is held by whoever has the file open."""
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)
