"""This machine's GPUs, and which of them a run gets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.compat.configs import visible_gpus
from recbole_ext.errors import ConfigurationError
from recbole_ext.installation import gpu_trouble


class Gpus:
    """Shared out among the runs of this machine: each process of a run gets one, and where there are more runs, they
    share it."""

    def __init__(self) -> None:
        self._runs: Counter[str] = Counter()
        self._counting = Lock()

    @contextmanager
    def for_run(self, config: Mapping[str, Any], processes: int = 1) -> Iterator[str]:
        """For the block, what ``CUDA_VISIBLE_DEVICES`` is for a run: the GPUs that have the fewest runs, one for each
        of its processes; empty where a run with these keys uses none.

        Raises:
            ConfigurationError: see :func:`usable_gpus`.
        """
        with self._counting:
            gpus = sorted(usable_gpus(config), key=lambda gpu: self._runs[gpu])[:processes]
            self._runs.update(gpus)
        try:
            yield ",".join(gpus)
        finally:
            with self._counting:
                self._runs.subtract(gpus)


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


def require_gpu_for_each_process(specs: Iterable[RunSpec]) -> None:
    """See that this machine has a GPU for each process of a run that is shared by several.

    Raises:
        ConfigurationError: it has not.
    """
    for spec in specs:
        if spec.processes == 1 or spec.config.get("use_gpu") is False:
            continue
        gpus = usable_gpus(spec.config)
        if not gpus:
            raise ConfigurationError(
                f"nproc: {spec.processes} processes of a run take as many GPUs, but {gpu_trouble() or 'it has none'}. "
                "On a CPU one process uses all cores: leave nproc out, or say use_gpu: false to share it all the same."
            )
        if len(gpus) < spec.processes:
            raise ConfigurationError(
                f"nproc: {spec.processes} processes of a run take as many GPUs; it may use {', '.join(gpus)}."
            )


def require_given(gpus: str) -> None:
    """See that the GPUs are there that this run was given; RecBole would go on on the processor without a word.

    Args:
        gpus: what ``CUDA_VISIBLE_DEVICES`` of its process is; empty where it was given none.

    Raises:
        ConfigurationError: torch no longer finds them.
    """
    if gpus and not visible_gpus():
        raise ConfigurationError(
            f"gpu_id: this run was given GPU {gpus}, and torch finds none now. See that the driver works (nvidia-smi) "
            "and start the benchmark again: what is finished is kept."
        )


def _ids(value: Any) -> list[str] | None:
    """The ids in one of RecBole's spellings: ``0``, ``"0,1"``, ``[0, 1]``."""
    if value is None:
        return None
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return [str(part).strip() for part in parts if str(part).strip()]
