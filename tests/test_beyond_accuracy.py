"""Novelty and intra-list distance are what their definitions say, at every cutoff, and need what they say they need."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.compat import make_recbole_work
from recbole_ext.errors import ConfigurationError, StoreError
from recbole_ext.metrics import register_metrics
from recbole_ext.store import ItemEmbeddingStore

make_recbole_work()

from recbole_ext.beyond_accuracy import IntraListDistance, Novelty, vectors_of_items  # noqa: E402

CONFIG = {"topk": [1, 2, 4], "metric_decimal_place": 8}


def struct(items: list[list[int]], **data: Any) -> dict[str, Any]:
    return {"rec.items": torch.tensor(items), **data}


def test_novelty_is_the_mean_surprise_of_the_listed_items() -> None:
    found = Novelty(CONFIG).calculate_metric(
        struct([[1, 2, 3, 4], [1, 1, 2, 2]], **{"data.users_of_item": np.array([0, 8, 4, 1, 0]), "data.num_users": 9})
    )
    surprise = {1: 0.0, 2: 1.0, 3: 3.0, 4: 3.0}  # an item that nobody had counts as one that one user had
    expected = {
        k: np.mean([np.mean([surprise[i] for i in row[:k]]) for row in ([1, 2, 3, 4], [1, 1, 2, 2])]) for k in (1, 2, 4)
    }
    assert found == pytest.approx({f"novelty@{k}": value for k, value in expected.items()})


def test_intra_list_distance_is_the_mean_over_the_pairs_of_a_list() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(9, 5, generator=torch.Generator().manual_seed(1)), dim=1
    ).numpy()
    items = [[1, 2, 3, 4], [8, 7, 6, 5]]
    found = IntraListDistance(CONFIG).calculate_metric(struct(items, **{"data.item_vectors": vectors}))
    for k in (2, 4):
        pairs = [1 - float(vectors[a] @ vectors[b]) for row in items for a, b in combinations(row[:k], 2)]
        assert found[f"intralistdistance@{k}"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert found["intralistdistance@1"] == 0.0
    alike = IntraListDistance(CONFIG).calculate_metric(struct([[3, 3, 3, 3]], **{"data.item_vectors": vectors}))
    assert alike["intralistdistance@4"] == pytest.approx(0.0, abs=1e-6)


def dataset(tokens: list[str]) -> Any:
    return SimpleNamespace(iid_field="item_id", field2id_token={"item_id": np.array(["[PAD]", *tokens])})


def test_vectors_are_found_by_token_and_are_of_length_one(tmp_path: Path) -> None:
    ItemEmbeddingStore(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), ["b", "a"], {}).save(tmp_path / "toys")
    config = {"diversity_vectors": str(tmp_path / "{dataset}"), "dataset": "toys"}
    assert vectors_of_items(dataset(["a", "b"]), config) == pytest.approx(np.array([[0, 0], [0, 1], [0.6, 0.8]]))
    with pytest.raises(StoreError, match="lacks 1 of 2 items, the first z"):
        vectors_of_items(dataset(["a", "z"]), config)


def test_a_vector_without_direction_is_refused(tmp_path: Path) -> None:
    ItemEmbeddingStore(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), ["b", "a"], {}).save(tmp_path / "store")
    config = {"diversity_vectors": str(tmp_path / "store"), "dataset": "toys"}
    with pytest.raises(StoreError, match="the vector of a is zero"):
        vectors_of_items(dataset(["a", "b"]), config)


def test_they_are_known_by_name_beside_recboles() -> None:
    assert register_metrics(["ndcg", "novelty", "IntraListDistance"]) == ["ndcg", "Novelty", "IntraListDistance"]
    with pytest.raises(ConfigurationError, match="no metric 'Novelti'. Did you mean 'Novelty'"):
        register_metrics(["Novelti"])


def test_distance_without_vectors_is_refused_before_anything_runs(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    from recbole_ext.benchmark import load_benchmark, resolve

    path = described(tmp_path, config={"metrics": ["NDCG", "IntraListDistance"]})
    benchmark, keys = load_benchmark(path)
    with pytest.raises(ConfigurationError, match="IntraListDistance needs `diversity_vectors`"):
        resolve(benchmark, keys, "", path.name)
