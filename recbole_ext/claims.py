"""Whose turn it is: one process at a time, also when several commands or machines share a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_ext.errors import ConfigurationError

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system says that has none, such as Lustre mounted without ``flock``."""

_held: set[int] = set()


class NoLocks(ConfigurationError, OSError):
    """The file system has no locks. An ``OSError`` too, as all else is for which no claim can be laid."""


@contextmanager
def claim(lock: Path, wait: bool) -> Iterator[bool]:
    """Hold ``lock`` for the block; yields whether it is ours. Without ``wait``, not when another process has it.

    The claim ends with the process that holds it, however that dies and whatever children outlive it, so no claim is
    ever stale; what a killed process leaves is an empty file that claims nothing. Machines that share the folder need
    a file system that passes ``flock`` on (NFS on Linux does).

    Raises:
        NoLocks: the file system of ``lock`` has no locks; names the folder and the way out.
        OSError: the folder can't be written.
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
    import fcntl  # Windows has none, and is to hear why it is not supported

    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Whoever had it before us took the file away: a third process may already hold another of that name.
            if _is(file, lock):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except OSError as error:
            os.close(file)
            if error.errno not in NO_LOCKS:
                raise
            lock.unlink(missing_ok=True)
            raise NoLocks(
                f"{lock.parent}: its file system has no locks ({error.strerror}), by which commands and machines share "
                "a folder. Mount it with them (Lustre: mount -o flock), or give results and artifacts a folder on "
                "another file system."
            ) from error
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


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_let_go)
