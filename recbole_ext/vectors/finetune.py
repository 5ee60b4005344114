"""The item matrix that RECFORMER's first stage makes on the target dataset: the paper's ``finetune``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import StoreError
from recbole_ext.store.folder import is_store_folder, read_meta
from recbole_ext.vectors.nested import Nested
from recbole_ext.vectors.source import Made, Settings, Vectors, VectorSource


class Finetune(VectorSource):
    """RECFORMER's items, after its first stage began from an encoder. A run of RECFORMER exports them."""

    kind: ClassVar[str] = "finetune"
    yaml_only: ClassVar[Collection[str]] = {"finetune"}
    is_made_of_others: ClassVar[bool] = True

    finetune: Nested
    """The encoder that RECFORMER begins from, tuned or not."""

    def request(self, dataset: Dataset) -> Settings:
        return {
            "of": {"kind": self.finetune.kind, **self.finetune.request(dataset)},
            "histories": dataset.histories_request(),
        }

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        raise self._not_made(dataset)

    def make(self, dataset: Dataset, out: Path, artifacts: Path, compute: Compute | None = None) -> Made:
        """What the run exported, if it has.

        Raises:
            StoreError: it has not.
        """
        if not is_store_folder(out) or out != self.store_path(dataset, artifacts):
            raise self._not_made(dataset)
        meta = read_meta(out)
        return Made(out, int(meta["items"]), int(meta["dim"]), up_to_date=True)

    def _not_made(self, dataset: Dataset) -> StoreError:
        return StoreError(
            f"the item matrix of a fine-tuned RECFORMER on {dataset.name} is made by a run of RECFORMER: put it among "
            "the benchmark's models."
        )

    def parts(self) -> list[VectorSource]:
        return [self.finetune]

    def tuning_seeds(self) -> int:
        return 1  # RECFORMER exports on the first seed alone

    def width(self, dataset: Dataset) -> int | None:
        return self.finetune.width(dataset)

    def in_words(self) -> str:
        return f"fine-tuned {self.finetune.in_words()}"
