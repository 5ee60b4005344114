"""The item matrix that RECFORMER's first stage makes on the target dataset: the paper's ``finetune``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

from recbole_ext.data.dataset import Dataset
from recbole_ext.encode.settings import Compute
from recbole_ext.errors import StoreError
from recbole_ext.vectors.nested import Nested
from recbole_ext.vectors.source import Settings, Vectors, VectorSource


class Finetune(VectorSource):
    """RECFORMER's items, after its first stage began from an encoder. A run of RECFORMER exports them."""

    kind: ClassVar[str] = "finetune"
    yaml_only: ClassVar[Collection[str]] = {"finetune", "run"}
    is_made_of_others: ClassVar[bool] = True

    finetune: Nested
    """The encoder that RECFORMER begins from, tuned or not."""
    run: dict[str, Any] | None = None
    """RecBole keys of the run that exports them, the seed among them."""

    def request(self, dataset: Dataset) -> Settings:
        return {
            "of": {"kind": self.finetune.kind, **self.finetune.request(dataset)},
            "dataset": dataset.fingerprint(),
            "run": self.run or {},
        }

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        raise StoreError(
            f"the item matrix of a fine-tuned RECFORMER on {dataset.name} is made by a run of RECFORMER: put it among "
            "the benchmark's models."
        )

    def width(self, dataset: Dataset) -> int | None:
        return self.finetune.width(dataset)

    def missing(self, dataset: Dataset) -> list[str]:
        return self.finetune.missing(dataset)

    def in_words(self) -> str:
        return f"fine-tuned {self.finetune.in_words()}"
