"""Behaviour without text: which items stand near each other in training histories, as PPMI, reduced by an SVD."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import ConfigurationError
from recbole_ext.estimate import LOADED_MB, Estimate
from recbole_ext.settings import Seed
from recbole_ext.vectors.behaviour import numbered_histories, pairs_within
from recbole_ext.vectors.source import Settings, Vectors, VectorSource
from recbole_ext.vectors.svd import PASSES, reduced


class Cooccurrence(VectorSource):
    """Positive pointwise mutual information of items near each other in training histories, and its truncated SVD.

    The matrix, its smoothed contexts and the square root of the singular values are those of Levy, Goldberg and Dagan
    (TACL 2015, sections 2 and 3). Items that stand alone in all their histories have no vector.
    """

    kind: ClassVar[str] = "cooccurrence"

    cooccurrence: Literal["ppmi"]
    """How counts are weighted: ppmi, positive pointwise mutual information."""
    dim: int = Field(default=128, ge=1)
    """Dimensions that are kept."""
    window: int = Field(default=5, ge=1)
    """Items at most so many steps apart occur together."""
    smoothing: float = Field(default=0.75, gt=0, le=1)
    """Power of the contexts' counts; below 1 it takes weight from rare items."""
    seed: Seed = 42
    """Of random projections, starting values and draws."""

    def request(self, dataset: Dataset) -> Settings:
        return {**self.model_dump(mode="json"), "histories": dataset.histories_request()}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        """Made of the training splits alone.

        Raises:
            ConfigurationError: more dimensions than items that occur together.
        """
        import numpy as np
        import torch
        from scipy.sparse import coo_matrix

        items, histories = numbered_histories(dataset)
        earlier, later = pairs_within(histories, self.window)
        apart = earlier != later
        ones = np.ones(apart.sum())
        counts = coo_matrix((ones, (earlier[apart], later[apart])), shape=(len(items), len(items))).tocsr()
        counts = counts + counts.T
        kept = np.flatnonzero(np.diff(counts.indptr))
        if self.dim > len(kept):
            raise ConfigurationError(
                f"cooccurrence: dim: {self.dim} is out of range; {len(kept)} items of {dataset.name} occur together."
            )
        pmi = counts[kept][:, kept].tocoo()
        totals = np.bincount(pmi.row, pmi.data, minlength=len(kept))
        contexts = totals**self.smoothing
        information = np.log(pmi.data * contexts.sum() / (totals[pmi.row] * contexts[pmi.col]))
        positive = information > 0
        ppmi = coo_matrix((information[positive], (pmi.row[positive], pmi.col[positive])), shape=pmi.shape).tocsr()
        svd = reduced(ppmi, self.dim, self.seed)
        vectors = svd.rows / np.sqrt(np.maximum(svd.singular_values, 1e-12))
        notes: tuple[str, ...] = ()
        if alone := len(items) - len(kept):
            notes = (f"{alone} items stand alone in their training histories and get no vector",)
        meta = {"pairs": int(len(ones)), "explained_variance": svd.explained_variance}
        return Vectors(torch.from_numpy(vectors).float(), [items[row] for row in kept], meta, notes)

    def width(self, dataset: Dataset) -> int | None:
        return self.dim

    def estimate(self, dataset: Dataset) -> Estimate | None:
        size = dataset.size()
        if size is None:
            return None
        pairs = 2 * self.window * size.interactions
        return Estimate(2 * (PASSES + 1) * 2 * pairs * self.dim, LOADED_MB + 60 * pairs / 2**20, fixed=8.0)
