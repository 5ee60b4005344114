"""Controls: what of another source's vectors is left when they say nothing about their items."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.estimate import LOADED_MB, Estimate
from recbole_ext.settings import Seed
from recbole_ext.vectors.nested import Nested
from recbole_ext.vectors.source import Settings, Vectors, VectorSource

if TYPE_CHECKING:
    import torch

    from recbole_ext.encoding.texts import ItemTexts


class _Control(VectorSource):
    """Vectors made of those of another source, and of a seed."""

    is_made_of_others: ClassVar[bool] = True

    seed: Seed = 42
    """Of the draw."""

    def request(self, dataset: Dataset) -> Settings:
        return {"of": {"kind": self._of.kind, **self._of.request(dataset)}, "seed": self.seed}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        import torch

        from recbole_ext.store import ItemEmbeddingStore

        store = ItemEmbeddingStore.load(self._of.store_path(dataset, artifacts))
        generator = torch.Generator().manual_seed(self.seed)
        return Vectors(self._drawn(store.embeddings, generator), store.items)

    def parts(self) -> list[VectorSource]:
        return [self._of]

    def texts(self, dataset: Dataset) -> ItemTexts | None:
        return self._of.texts(dataset)

    def with_seed(self, number: int) -> Self:
        return self.model_copy(update={self.kind: self._of.with_seed(number)})

    def width(self, dataset: Dataset) -> int | None:
        return self._of.width(dataset)

    def estimate(self, dataset: Dataset) -> Estimate | None:
        return Estimate(0.0, LOADED_MB, fixed=4.0)

    def in_words(self) -> str:
        return f"{self.kind} {self._of.in_words()}"

    @property
    def _of(self) -> VectorSource:
        return getattr(self, self.kind)

    @abstractmethod
    def _drawn(self, vectors: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The control's vectors, of the same shape, in the order of the same items."""


class Shuffled(_Control):
    """The rows of another source, dealt out to other items: the same spectrum, the wrong items."""

    kind: ClassVar[str] = "shuffled"

    shuffled: Nested
    """The source whose rows are dealt out."""

    def _drawn(self, vectors: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        import torch

        return vectors[torch.randperm(len(vectors), generator=generator)]


class Gaussian(_Control):
    """Gaussian vectors with the mean and the covariance of another source's, exactly: its spectrum and nothing else."""

    kind: ClassVar[str] = "gaussian"

    gaussian: Nested
    """The source whose mean and covariance are taken."""

    def _drawn(self, vectors: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        import torch

        centred = vectors.to(torch.float64, copy=True)
        mean = centred.mean(dim=0)
        centred -= mean
        rank = min(len(vectors) - 1, vectors.shape[1])
        values, axes = torch.linalg.svd(centred, full_matrices=False)[1:]
        del centred  # as large as all vectors, twice
        drawn = torch.randn(len(vectors), rank, generator=generator, dtype=torch.float64)
        # The draw's own mean and covariance are taken out first, so that the result's are not just about the source's.
        drawn -= drawn.mean(dim=0)
        scores, _, turn = torch.linalg.svd(drawn, full_matrices=False)
        del drawn
        return (mean + (scores @ turn * values[:rank]) @ axes[:rank]).float()
