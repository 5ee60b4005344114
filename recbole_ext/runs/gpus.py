"""This machine's GPUs, and which of them a run gets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

from recbole_ext.compat.configs import visible_gpus
from recbole_ext.errors import ConfigurationError


class Gpus:
    """Shared out among the runs of this machine: each gets one, and where there are more runs, they share it."""

    def __init__(self) -> None:
        self._runs: Counter[str] = Counter()
        self._counting = Lock()

    @contextmanager
    def one_for(self, config: Mapping[str, Any]) -> Iterator[str]:
        """For the block, the id of the GPU that has the fewest runs; empty where a run with these keys uses none.

        Raises:
            ConfigurationError: see :func:`usable_gpus`.
        """
        with self._counting:
            gpu = min(usable_gpus(config), key=lambda gpu: self._runs[gpu], default="")
            self._runs[gpu] += 1
        try:
            yield gpu
        finally:
            with self._counting:
                self._runs[gpu] -= 1


def usable_gpus(config: Mapping[str, Any]) -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` may name for a run with these keys of RecBole.

    ``gpu_id`` names them, as in RecBole; else the ``CUDA_VISIBLE_DEVICES`` of this process, else all. There are none
    with ``use_gpu: false``, and where torch finds none.

    Raises:
        ConfigurationError: ``gpu_id`` names a GPU that is not there; RecBole would use the processor without a word.
    """
    there_is = [] if config.get("use_gpu") is False else visible_gpus()
    wanted = _ids(config.get("gpu_id"))
    if wanted is None or not there_is:
        return there_is
    if "CUDA_VISIBLE_DEVICES" not in os.environ and (missing := sorted(set(wanted) - set(there_is))):
        raise ConfigurationError(f"gpu_id: there is no GPU {missing[0]}; this machine has {', '.join(there_is)}.")
    return wanted


def _ids(value: Any) -> list[str] | None:
    """The ids in one of RecBole's spellings: ``0``, ``"0,1"``, ``[0, 1]``."""
    if value is None:
        return None
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return [str(part).strip() for part in parts if str(part).strip()]
