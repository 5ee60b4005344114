"""The benchmark of :mod:`finished_lists`, run once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
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


@pytest.fixture
def here(finished: Finished, tmp_path: Path) -> Finished:
    """The benchmark with results of its own, which a test may add to."""
    content = yaml.safe_load(finished.file.read_text(encoding="utf-8")) | {"results": str(tmp_path / "results")}
    shutil.copytree(finished.folder, tmp_path / "results" / "trial")
    file = tmp_path / "benchmark.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return Finished(file, tmp_path / "results" / "trial", finished.store)
