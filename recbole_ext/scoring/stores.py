"""The stores of what is scored, each made in a process of its own, whose peak memory is that of making it alone."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from recbole_ext.benchmark.beginnings import StoreToMake
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import StoreError


def make_apart(stores: Sequence[StoreToMake], artifacts: Path, compute: Compute) -> None:
    """See that the stores are there, in their order; what they are made of comes before them.

    Raises:
        RecboleExtError: one can't be made.
    """
    for store in stores:
        if store.path is not None and store.path.exists():
            continue
        # A new interpreter: a forked one would begin with the memory of this one.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            try:
                process.submit(_make, store, artifacts, compute).result()
            except BrokenProcessPool as error:
                raise StoreError(
                    f"{store.dataset.name}, {store.source.in_words()}: the process that made these vectors was killed; "
                    "the kernel does this when memory runs out. What it had finished is kept: repeat the command."
                ) from error


def _make(store: StoreToMake, artifacts: Path, compute: Compute) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("recbole_ext").setLevel(logging.INFO)
    store.source.make_once(store.dataset, artifacts, compute)
