"""How all kinds of ``bench`` measure: seconds in turns, memory in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Measured = TypeVar("Measured")


def take_turns(work: Mapping[str, Callable[[], Any]], repeats: int, what: str) -> dict[str, list[float]]:
    """Wall-clock seconds of each piece of ``work``, ``repeats`` times: a machine whose speed drifts slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(repeats):
        for name, do in work.items():
            seconds[name].append(timed(do)[0])
        last = ", ".join(f"{name} {taken[-1]:.2f} s" for name, taken in seconds.items())
        log.info("%s, repeat %d: %s", what, repeat + 1, last)
    return seconds


def timed(do: Callable[[], Measured]) -> tuple[float, Measured]:
    """Wall-clock seconds of one call, and what it returned."""
    began = time.perf_counter()
    returned = do()
    return time.perf_counter() - began, returned


def apart(measure: Callable[..., Measured], *arguments: Any) -> Measured:
    """``measure(*arguments)`` in a fresh process: its memory and its random state are its own.

    Raises:
        BrokenProcessPool: the process was killed, as one that asks for too much memory is.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()
