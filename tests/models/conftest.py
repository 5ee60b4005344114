"""Models that read item vectors, on the made-up dataset ``tiny`` with a made-up store."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.store import ItemEmbeddingStore

WIDTH = 24


@pytest.fixture(scope="session")
def store() -> ItemEmbeddingStore:
    """Correlated vectors, 24 wide, for the 60 items of ``tiny``, in an order of its own."""
    generator = torch.Generator().manual_seed(5)
    order = torch.randperm(60, generator=generator).tolist()
    mix = torch.randn(WIDTH, WIDTH, generator=generator)
    return ItemEmbeddingStore(torch.randn(60, WIDTH, generator=generator) @ mix + 2, [f"i{item}" for item in order])


@pytest.fixture(scope="session")
def build_on_vectors(
    build: Callable[..., SimpleNamespace], store: ItemEmbeddingStore
) -> Callable[..., SimpleNamespace]:
    """``build`` with the key ``item_embedding`` set to the store; adds the vectors in the dataset's order of items."""

    def build_on_vectors(model: str, **settings: Any) -> SimpleNamespace:
        built = build(model, **{"item_embedding": store, "MAX_ITEM_LIST_LENGTH": 12, **settings})
        tokens = [str(token) for token in built.dataset.field2id_token["item_id"][1:]]
        built.vectors = store.embeddings[store.rows(tokens)]
        return built

    return build_on_vectors
