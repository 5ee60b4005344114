"""The stores of what is scored and the encoders that are tuned for them, each made in a process of its own, whose peak
memory is that of making it alone."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_ext.benchmark import Resolved
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import StoreError
from recbole_ext.scripts import unimportable_script
from recbole_ext.tuning.stage import make_once
from recbole_ext.tuning.tuning import TunedEncoder
from recbole_ext.vectors import VectorSource


def make_apart(resolved: Resolved, compute: Compute) -> None:
    """See that the stores are there, in their order; what they are made of comes before them, tuned encoders first.

    Raises:
        RecboleExtError: one can't be made.
    """
    artifacts = resolved.benchmark.artifacts
    for encoder in resolved.encoders:
        if encoder.path is None or not encoder.path.exists():
            _alone(f"tuning {encoder.tuned.in_words()}", _tune, _with_plain_sources(encoder.tuned), artifacts)
    for store in resolved.stores:
        if store.path is None or not store.path.exists():
            what = f"{store.dataset.name}, {store.source.in_words()}"
            _alone(what, _make, store.source, _with_plain_keys(store.dataset), artifacts, compute)


def _alone(what: str, function: Callable[..., None], *arguments: Any) -> None:
    """Call ``function`` in a new interpreter: a forked one would begin with the memory of this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            with unimportable_script():
                made = process.submit(function, *arguments)
            made.result()
        except BrokenProcessPool as error:
            raise StoreError(
                f"{what}: the process that made it was killed; the kernel does this when memory runs out. What it had "
                "finished is kept: repeat the command."
            ) from error


def _with_plain_sources(tuned: TunedEncoder) -> TunedEncoder:
    before = tuned.encoder if isinstance(tuned.encoder, str) else _with_plain_sources(tuned.encoder)
    return replace(tuned, encoder=before, sources=tuple(map(_with_plain_keys, tuned.sources)))


def _with_plain_keys(dataset: Dataset) -> Dataset:
    return replace(dataset, keys={key: value for key, value in dataset.keys.items() if _is_plain(value)})


def _is_plain(value: Any) -> bool:
    """Whether it is of JSON's types; RecBole's own among a run's keys say nothing about vectors, and load RecBole."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or type(value) in (str, int, float, bool)


def _tune(tuned: TunedEncoder, artifacts: Path) -> None:
    _log()
    make_once(tuned, artifacts)


def _make(source: VectorSource, dataset: Dataset, artifacts: Path, compute: Compute) -> None:
    _log()
    source.make_once(dataset, artifacts, compute)


def _log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("recbole_ext").setLevel(logging.INFO)
