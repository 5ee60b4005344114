"""Items that training never saw, scored from their vectors alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_ext.attach import new_item_rows, new_item_vectors
from recbole_ext.errors import ConfigurationError, StoreError
from recbole_ext.lists.finished import FinishedRun
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.folder import is_store_folder, read_meta
from recbole_ext.training.exactness import scores_are_dot_products
from recbole_ext.training.objective import outputs_of, scored_items

log = logging.getLogger(__name__)

OF_ANY_TEXT = ("encoder", "static")
"""Sources that give an item the same vector whatever other items there are; the others are fitted on a dataset. So is
``static`` where it weighs words by their frequency there (``weighting: sif``)."""


@dataclass(frozen=True)
class NewItems:
    """Items that the run's dataset does not have.

    Attributes:
        tokens: ``[items]``.
        rows: what the model's output is multiplied with, ``[items, width]``.
    """

    tokens: np.ndarray
    rows: torch.Tensor

    def scores(self, run: FinishedRun, samples: Any) -> torch.Tensor:
        """``[users, items]``."""
        return outputs_of(run.model, samples.to(run.model.device)) @ self.rows.T


@torch.no_grad()
def find_new_items(run: FinishedRun, store: Path | str | ItemEmbeddingStore) -> NewItems:
    """The items of ``store`` that the run's dataset lacks, as the model would see them.

    Their vectors go through the run's transforms, fitted on the dataset's items alone, and through what the run's mode
    makes of vectors. Items that the dataset has keep what training made of them.

    Raises:
        ConfigurationError: the run began from no vectors, or its model does not score by dot products with its items.
        StoreError: the store holds no new item, or its vectors are not of the run's source.
    """
    model, config, name = run.model, run.config, run.record.run
    if not config["item_embedding"]:
        raise ConfigurationError(
            f"--new-items: {name} began from random vectors, which say nothing of an item that training never saw. "
            "Take a run with item vectors."
        )
    if hasattr(model, "item_vector_coverage") or not scores_are_dot_products(
        model, run.prepared.loaders.train._dataset
    ):
        raise ConfigurationError(
            f"--new-items: {run.record.model} does not score an item by the dot product with a vector of its own in "
            "item_embedding, so a vector alone gives no score. Take a run of a model that does, such as SASRec."
        )
    loaded = store if isinstance(store, ItemEmbeddingStore) else ItemEmbeddingStore.load(Path(store))
    said = "given" if isinstance(store, ItemEmbeddingStore) else str(store)
    known = set(run.items[1:].tolist())
    fresh = [place for place, token in enumerate(loaded.items) if token not in known]
    if not fresh:
        raise StoreError(f"--new-items: all {len(loaded):,} items of {said} are the run's own; there is no new one.")
    if len(fresh) < len(loaded):
        log.info("%s: %d of its %d items are new", said, len(fresh), len(loaded))
    _check_source(run, loaded, said)
    vectors = new_item_vectors(run.dataset, config, loaded.embeddings[fresh])
    rows = new_item_rows(model, vectors.to(model.device), run.dataset.iid_field)
    tokens = np.array([loaded.items[place] for place in fresh], dtype=object)
    return NewItems(tokens, _as_scored(model, rows))


def _as_scored(model: Any, rows: torch.Tensor) -> torch.Tensor:
    """What the model would multiply its outputs with if ``rows`` were its items (their directions, for a cosine)."""
    own, n_items = model.item_embedding, model.n_items
    try:
        model.item_embedding = torch.nn.Embedding.from_pretrained(rows)
        model.n_items = len(rows)
        return scored_items(model)
    finally:
        model.item_embedding, model.n_items = own, n_items


def _check_source(run: FinishedRun, store: ItemEmbeddingStore, said: str) -> None:
    """See that the new vectors lie in the space of the run's own, as far as the stores say where they come from."""
    path = Path(run.config["item_embedding"])
    own = read_meta(path) if is_store_folder(path) else {}
    if own.get("fingerprint") and own.get("fingerprint") == store.meta.get("fingerprint"):
        return
    requests = [_space(meta) for meta in (own, store.meta)]
    if None in requests:
        log.warning("%s: nothing says that its vectors come from the source of %s; that is yours to see to", said, path)
        return
    fitted = {in_words for request in requests if request and (in_words := _fitted(request))}
    if fitted:
        raise StoreError(
            f"--new-items: {said}: vectors of {' and '.join(sorted(fitted))} are fitted on the items of one dataset, "
            f"so two stores of them lie in different spaces. Take {path} itself, if it has more items than the run."
        )
    if requests[0] != requests[1]:
        differing = [key for key in {**(requests[0] or {}), **(requests[1] or {})} if _differs(requests, key)]
        raise StoreError(
            f"--new-items: {said} was not made as {path} was: it differs in {', '.join(differing)}. Encode the new "
            "items with the run's own settings."
        )


def _fitted(request: dict[str, Any]) -> str | None:
    """The source of this request in words, if it is fitted on the items of one dataset."""
    if request.get("weighting") == "sif":
        return f"{request['kind']} with weighting: sif"
    return None if request["kind"] in OF_ANY_TEXT else request["kind"]


def _space(meta: dict[str, Any]) -> dict[str, Any] | None:
    request = meta.get("request")
    if not isinstance(request, dict) or "kind" not in request:
        return None
    return {key: value for key, value in request.items() if key != "texts"}


def _differs(requests: list[dict[str, Any] | None], key: str) -> bool:
    return (requests[0] or {}).get(key) != (requests[1] or {}).get(key)
