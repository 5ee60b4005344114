"""The benchmark of :mod:`finished_lists`, run once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from finished_lists import KEYS, NEW_ITEMS, OLD_ITEMS, Finished

from recbole_ext.api import run


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, described: Callable[..., Path], store_of: Callable[..., Path]
) -> Finished:
    home = tmp_path_factory.mktemp("lists")
    store = store_of([*OLD_ITEMS, *NEW_ITEMS], home / "store")
    attached = {"store": str(store), "transform": ["center", {"scale": 0.1}]}
    initialisations = {"random": {}, **{mode: {**attached, "mode": mode} for mode in ("full", "frozen", "adapter")}}
    file = described(home, initialisations=initialisations, **KEYS)
    outcome = run(file)
    assert outcome.failed == []
    return Finished(file, outcome.folder, store)
