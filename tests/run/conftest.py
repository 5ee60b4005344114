"""Benchmark files and stores for the made-up dataset ``tiny``, and a copy of it to change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

TINY: dict[str, Any] = {
    "name": "trial",
    "datasets": ["tiny"],
    "models": {"SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1}},
    "initialisations": {"none": {}},
    "seeds": [1],
    "config": {"epochs": 2, "train_batch_size": 256, "topk": [1, 5, 10], "show_progress": False, "use_gpu": False},
}


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory, atomic_folder: Path) -> Callable[..., Path]:
    """``described(folder, **keys)`` writes a benchmark file that keeps all it makes below ``folder``."""

    def described(folder: Path, **keys: Any) -> Path:
        own = {
            "data_path": str(atomic_folder),
            "dataset_configs": str(folder / "configs"),
            "results": str(folder / "results"),
            "artifacts": str(folder / "artifacts"),
        }
        path = folder / "benchmark.yaml"
        path.write_text(yaml.safe_dump({**TINY, **own, **keys}, sort_keys=False), encoding="utf-8")
        return path

    return described


@pytest.fixture(scope="session")
def store_of() -> Callable[..., Path]:
    """``store_of(items, path)`` saves a store of random vectors, 16 wide."""
    import torch

    from recbole_ext.store import ItemEmbeddingStore

    def store_of(items: list[str], path: Path, seed: int = 0) -> Path:
        vectors = torch.randn(len(items), 16, generator=torch.Generator().manual_seed(seed))
        ItemEmbeddingStore(vectors, items, {}).save(path)
        return path

    return store_of


@pytest.fixture
def own_data(atomic_folder: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may change."""
    return Path(shutil.copytree(atomic_folder, tmp_path / "data"))
