"""item2vec (Barkan and Koenigstein, 2016, arXiv 1603.04259): word2vec's skip-grams over training histories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.estimate import LOADED_MB, Estimate
from recbole_ext.settings import Seed
from recbole_ext.vectors.behaviour import numbered_histories, pairs_within
from recbole_ext.vectors.source import Settings, Vectors, VectorSource

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

PAIRS_OF_A_STEP = 4096
POWER = 0.75
"""Of an item's count, for drawing negatives (Mikolov et al., 2013)."""


class Item2vec(VectorSource):
    """Skip-grams with negative sampling: an item's vector predicts its neighbours in training histories.

    Own code, for gensim has no wheel for Python 3.14.
    """

    kind: ClassVar[str] = "item2vec"

    item2vec: Literal["skipgram"]
    """How vectors are learnt: skipgram, with negative sampling."""
    dim: int = Field(default=128, ge=1)
    """Width of the vectors."""
    window: int = Field(default=5, ge=1)
    """Items at most so many steps apart are neighbours."""
    negatives: int = Field(default=5, ge=1)
    """Items drawn against each neighbour."""
    epochs: int = Field(default=20, ge=1)
    """Passes over all pairs of neighbours."""
    learning_rate: float = Field(default=0.005, gt=0, le=1)
    """Of Adam at the beginning; it falls to zero."""
    seed: Seed = 42
    """Of starting values, order and draws."""

    def request(self, dataset: Dataset) -> Settings:
        return {**self.model_dump(mode="json"), "histories": dataset.histories_request()}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        """Made of the training splits alone.

        Raises:
            SourceDataError: no two items stand near each other.
            ConfigurationError: the vectors have become infinite or no numbers.
        """
        import numpy as np

        items, histories = numbered_histories(dataset)
        earlier, later = pairs_within(histories, self.window)
        apart = earlier != later
        if not apart.any():
            raise SourceDataError(f"item2vec: no training history of {dataset.name} holds two different items.")
        pairs = np.stack([earlier[apart], later[apart]], axis=1)
        counts = np.bincount(np.concatenate(histories), minlength=len(items))
        vectors, loss = self._learnt(np.concatenate([pairs, pairs[:, ::-1]]), counts)
        if not vectors.isfinite().all():
            raise ConfigurationError("item2vec: learning_rate: the vectors have become no numbers any more; lower it.")
        kept = np.flatnonzero(np.bincount(pairs.reshape(-1), minlength=len(items)))
        notes: tuple[str, ...] = ()
        if alone := len(items) - len(kept):
            notes = (f"{alone} items stand alone in their training histories and get no vector",)
        meta = {"pairs": len(pairs), "loss": round(loss, 4)}
        return Vectors(vectors[kept], [items[row] for row in kept], meta, notes)

    def width(self, dataset: Dataset) -> int | None:
        return self.dim

    def estimate(self, dataset: Dataset) -> Estimate | None:
        size = dataset.size()
        if size is None:
            return None
        pairs = 2 * self.window * size.interactions
        # Single vectors are gathered, not multiplied: that runs at a tenth of a matrix product's speed.
        operations = 10 * self.epochs * pairs * 6 * (1 + self.negatives) * self.dim
        return Estimate(operations, LOADED_MB + (48 * pairs + 32 * size.items * self.dim) / 2**20, fixed=8.0)

    def _learnt(self, pairs: np.ndarray, counts: np.ndarray) -> tuple[Tensor, float]:
        """Vectors ``[items, dim]`` and the mean loss of the last epoch, from directed pairs ``[pairs, 2]``."""
        import torch
        from torch.nn.functional import logsigmoid
        from tqdm import tqdm

        generator = torch.Generator().manual_seed(self.seed)
        shape = (len(counts), self.dim)
        inner = torch.nn.Embedding(*shape, sparse=True)
        outer = torch.nn.Embedding(*shape, sparse=True)
        with torch.no_grad():
            inner.weight.copy_((torch.rand(shape, generator=generator) - 0.5) / self.dim)
            outer.weight.zero_()
        optimizer = torch.optim.SparseAdam([inner.weight, outer.weight], lr=self.learning_rate)
        both = torch.from_numpy(pairs)
        chance = torch.from_numpy(counts.astype("float64") ** POWER).cumsum(0)
        steps = self.epochs * -(-len(both) // PAIRS_OF_A_STEP)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1 - step / steps, 1e-4))
        loss_of_epoch = 0.0
        for _ in tqdm(range(self.epochs), desc="item2vec", unit="epoch", disable=None):
            loss_of_epoch = 0.0
            for rows in torch.randperm(len(both), generator=generator).split(PAIRS_OF_A_STEP):
                centre, neighbour = both[rows].T
                drawn = torch.rand((len(rows), self.negatives), generator=generator, dtype=torch.float64) * chance[-1]
                negative = torch.searchsorted(chance, drawn, right=True).clamp_max(len(counts) - 1)
                vectors = inner(centre)
                own = (vectors * outer(neighbour)).sum(-1)
                others = (outer(negative) @ vectors.unsqueeze(-1)).squeeze(-1)
                loss = -(logsigmoid(own) + logsigmoid(-others).sum(-1)).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                loss_of_epoch += float(loss.detach()) * len(rows)
        return inner.weight.detach(), loss_of_epoch / len(both)
