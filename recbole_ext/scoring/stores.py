"""The stores of what is scored, each made in a process of its own, whose peak memory is that of making it alone."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_ext.benchmark.beginnings import StoreToMake
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import StoreError
from recbole_ext.scripts import unimportable_script
from recbole_ext.vectors import VectorSource


def make_apart(stores: Sequence[StoreToMake], artifacts: Path, compute: Compute) -> None:
    """See that the stores are there, in their order; what they are made of comes before them.

    Raises:
        RecboleExtError: one can't be made.
    """
    for store in stores:
        if store.path is not None and store.path.exists():
            continue
        plain = {key: value for key, value in store.dataset.keys.items() if _is_plain(value)}
        dataset = replace(store.dataset, keys=plain)
        # A new interpreter: a forked one would begin with the memory of this one.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            try:
                with unimportable_script():
                    made = process.submit(_make, store.source, dataset, artifacts, compute)
                made.result()
            except BrokenProcessPool as error:
                raise StoreError(
                    f"{store.dataset.name}, {store.source.in_words()}: the process that made these vectors was killed; "
                    "the kernel does this when memory runs out. What it had finished is kept: repeat the command."
                ) from error


def _is_plain(value: Any) -> bool:
    """Whether it is of JSON's types; RecBole's own among a run's keys say nothing about vectors, and load RecBole."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or type(value) in (str, int, float, bool)


def _make(source: VectorSource, dataset: Dataset, artifacts: Path, compute: Compute) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("recbole_ext").setLevel(logging.INFO)
    source.make_once(dataset, artifacts, compute)
