"""How runs and their processes end, and what is said of it."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess

import psutil

from recbole_ext.errors import RecboleExtError


def in_words(error: Exception) -> str:
    """What an error says: our own sentence as it is, another's behind its name."""
    return str(error) if isinstance(error, RecboleExtError) else f"{type(error).__name__}: {error}"


def how_it_ended(exit_code: int | None) -> str:
    """How the process of a run ended that recorded nothing, in words, from ``Process.exitcode``."""
    code = exit_code or 0
    number = -code if code < 0 else code - 128  # as a shell tells the signal after which a process ended by itself
    if number == signal.SIGKILL:
        return f"its process was killed (signal {number}); the kernel does this when memory runs out"
    if number in set(signal.Signals):
        return f"its process was ended by signal {number} ({signal.Signals(number).name}: {signal.strsignal(number)})"
    return f"its process ended with exit code {code}"


def kill(process: BaseProcess) -> None:
    """End a process and its children, which would notice in some seconds only."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
