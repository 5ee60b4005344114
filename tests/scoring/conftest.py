"""A suite on the made-up dataset ``tiny``, and cards that were really made with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_ext import api
from recbole_ext.scoring import Scored

SUITE: dict[str, Any] = {
    "version": 1,
    "name": "mini",
    "datasets": ["tiny"],
    "models": {
        "SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1},
        "GRU4Rec": {"embedding_size": 16, "hidden_size": 16},
        "NearestNeighbour": {},
    },
    "initialisations": {"random": {}, "vectors": {"transform": ["center", {"width": 16}], "missing": "mean"}},
    "search": {"space": {"item_embedding_scale": [0.05, 0.2]}},
    "grids": {"NearestNeighbour": {"seeds": [42], "search": {}}},
    "seeds": [42, 43, 44],
    "parallel_runs": 2,
    "config": {"epochs": 1, "train_batch_size": 256, "topk": [1, 5, 10], "show_progress": False, "use_gpu": False},
    "note": "Made-up people.",
}


@pytest.fixture(scope="session")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "mini.yaml"
    path.write_text(yaml.safe_dump(SUITE, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def score(atomic_folder: Path, suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Scored]:
    """``score(source, **arguments)``: ``api.score`` in one folder of the session, where runs are shared."""
    folder = tmp_path_factory.mktemp("scored")

    def score(source: Any, **arguments: Any) -> Scored:
        places = {"data_path": atomic_folder, "dataset_configs": folder, "artifacts": folder / "artifacts"}
        return api.score(
            source, suite_file, **{**places, "out": folder / "encoders", "published": folder / "none", **arguments}
        )

    return score


@pytest.fixture(scope="session")
def words(score: Callable[..., Scored]) -> Scored:
    """The card of TF-IDF, 8 wide: narrower than the models."""
    return score({"lexical": "tfidf", "dim": 8})
