"""Metrics of lists beyond accuracy: how far apart their items are, and how little known.

Metrics like a user's own; RecBole has ItemCoverage, AveragePopularity, GiniIndex, ShannonEntropy and TailPercentage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_ext.errors import ConfigurationError, StoreError

KEY = "diversity_vectors"
"""The config's key that names the store in whose vectors diversity is measured, the same for all rows of a table."""
USERS_AT_ONCE = 256


class _OfItems(AbstractMetric):
    """A mean over users of something that the items of their lists decide, at every cutoff."""

    metric_type = EvaluatorType.RANKING

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.topk = config["topk"]

    def named(self, name: str, at_each: np.ndarray) -> dict[str, float]:
        """By ``name@k`` the value at each cutoff, ``at_each`` ``[K]``."""
        return {f"{name}@{k}": round(float(at_each[k - 1]), self.decimal_place) for k in self.topk}


class Novelty(_OfItems):
    """How surprising the listed items are: the mean of log₂(users / users who had the item in training).

    The mean self-information of Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems",
    PNAS 2010. An item that training never saw is taken for one that a single user had.
    """

    metric_need = ["rec.items", "data.users_of_item", "data.num_users"]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        items = dataobject.get("rec.items").numpy()  # [users, K]
        of_item, users = dataobject.get("data.users_of_item"), dataobject.get("data.num_users") - 1  # without padding
        novelty = np.log2(users / np.maximum(of_item, 1))[items]
        return self.named("novelty", (novelty.cumsum(axis=1) / np.arange(1, items.shape[1] + 1)).mean(axis=0))


class IntraListDistance(_OfItems):
    """How different the items of a list are from each other: the mean of 1 − cosine over all pairs of their vectors.

    Ziegler et al., "Improving recommendation lists through topic diversification", WWW 2005, with the distance in the
    vectors of ``diversity_vectors``. A list of one item has no pair: 0.
    """

    metric_need = ["rec.items", "data.item_vectors"]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        items, vectors = dataobject.get("rec.items").numpy(), dataobject.get("data.item_vectors")
        k = np.arange(1, items.shape[1] + 1)
        total = np.zeros(len(k))
        for begin in range(0, len(items), USERS_AT_ONCE):
            # ‖Σ v‖² over unit vectors is k plus every ordered pair's cosine.
            sums = vectors[items[begin : begin + USERS_AT_ONCE]].astype(np.float64).cumsum(axis=1)
            cosines = (sums**2).sum(axis=2) - k
            total += (1 - cosines / np.maximum(k * (k - 1), 1)).sum(axis=0)
        mean = total / max(len(items), 1)
        mean[0] = 0.0
        return self.named("intralistdistance", mean)


def users_of_items(dataset: Any) -> np.ndarray:
    """How many different users had each item in the training split ``dataset``, int ``[items]`` by internal id.

    RecBole's counts are of the samples' targets, among which a sequential model's users lack their first item.
    """
    return np.asarray((dataset.inter_matrix(form="csr") > 0).sum(axis=0)).ravel()


def vectors_of_items(dataset: Any, config: Any) -> np.ndarray:
    """Unit vectors of the dataset's items by internal id, float32 ``[items, dim]``; of the padding zeros.

    Raises:
        ConfigurationError: no store is named.
        StoreError: it can't be read, or lacks an item or holds a zero vector, of which there is no direction.
    """
    from recbole_ext.store import ItemEmbeddingStore

    named = config[KEY]
    if not named:
        raise ConfigurationError(f"metrics: IntraListDistance needs `{KEY}`, the path of a store.")
    path = Path(str(named).replace("{dataset}", str(config["dataset"])))
    store = ItemEmbeddingStore.load(path)
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
    rows = store.rows(tokens).numpy()
    if (rows < 0).any():
        missing = int((rows < 0).sum())
        first = tokens[int((rows < 0).argmax())]
        raise StoreError(f"{KEY}: {path} lacks {missing:,} of {len(tokens):,} items, the first {first}.")
    vectors = store.embeddings.numpy()[rows]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (norms == 0).any():
        raise StoreError(f"{KEY}: {path}: the vector of {tokens[int((norms == 0).argmax())]} is zero.")
    return np.concatenate([np.zeros_like(vectors[:1]), vectors / norms])
