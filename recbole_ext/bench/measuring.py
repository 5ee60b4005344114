"""How all kinds of ``bench`` measure: seconds in turns, memory in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from recbole_ext.errors import MeasurementError

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
    """Wall-clock seconds of one call, until a GPU has done all that it was given, and what the call returned."""
    _wait_for_the_gpu()
    began = time.perf_counter()
    returned = do()
    _wait_for_the_gpu()
    return time.perf_counter() - began, returned


def _wait_for_the_gpu() -> None:
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory(device: Any) -> dict[str, float]:
    """Peak memory of this process, in MiB, and on a GPU what it held there."""
    from recbole_ext.machine import peak_device_memory_mb, peak_memory_mb

    own, on_device = {"peak_memory_mb": peak_memory_mb()}, peak_device_memory_mb(device)
    return own if on_device is None else own | {"peak_device_memory_mb": on_device}


def apart(measure: Callable[..., Measured], *arguments: Any, **named: Any) -> Measured:
    """``measure(*arguments, **named)`` in a fresh process: its memory and its random state are its own.

    Raises:
        MeasurementError: the process was killed, as one that asks for too much memory is.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure, *arguments, **named).result()
        except BrokenProcessPool as error:
            raise MeasurementError(
                "bench: the process that measured was killed; the kernel does this when memory runs out. Free some, or "
                "measure a smaller dataset or model."
            ) from error
