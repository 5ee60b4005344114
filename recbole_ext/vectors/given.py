"""Vectors that are there already, whoever made them: of images, of another program, of an earlier run."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import StoreError
from recbole_ext.hashing import sha256_of_file
from recbole_ext.store.files import files_of, is_table, width_of
from recbole_ext.store.folder import is_store_folder, read_meta
from recbole_ext.store.table_file import width_of_table
from recbole_ext.vectors.before_the_cut import refuse_later
from recbole_ext.vectors.source import Cost, Made, Settings, Vectors, VectorSource

log = logging.getLogger(__name__)


class Store(VectorSource):
    """Given vectors: a store folder, a .npy, .pt or .safetensors tensor, a parquet or csv table, an atomic file.

    They are used where they are; those of a table become a store of their own.
    """

    kind: ClassVar[str] = "store"
    yaml_only: ClassVar[Collection[str]] = {"made_by"}

    store: str
    """The folder or file; {dataset} in it stands for the dataset's name."""
    ids: str | None = None
    """Of a table: the column of item tokens."""
    vectors: str | None = None
    """Of a table: the column that holds the vectors. By default every column but ids is a dimension."""
    made_by: str | None = None
    """The command that makes it, with {dataset}; a plan prints it where the store is missing."""

    def request(self, dataset: Dataset) -> Settings:
        if lines := self.missing(dataset):
            raise StoreError(lines[0])
        self._refuse_later(dataset)
        content = [sha256_of_file(file) for file in files_of(self._path(dataset))]
        return {"content": content, "ids": self.ids, "vectors": self.vectors}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        from recbole_ext.store import ItemEmbeddingStore

        store = ItemEmbeddingStore.load(self._path(dataset), self.ids, self.vectors)
        return Vectors(store.embeddings, store.items, {"given": self._path(dataset).name})

    def width(self, dataset: Dataset) -> int | None:
        path = self._path(dataset)
        if is_table(path) and path.exists():
            return width_of_table(path, self.ids, self.vectors)  # which says what is wrong with ids and vectors
        return width_of(path) if path.exists() else None

    def missing(self, dataset: Dataset) -> list[str]:
        path = self._path(dataset)
        if path.exists():
            return []
        if self.made_by:
            return [f"{path}: {self.made_by.replace('{dataset}', dataset.name)}"]
        return [f"{path}: {'no such file' if path.suffix else 'no such item embedding store'}"]

    def store_path(self, dataset: Dataset, artifacts: Path) -> Path:
        path = self._path(dataset)
        return super().store_path(dataset, artifacts) if is_table(path) else path

    def make(self, dataset: Dataset, out: Path, artifacts: Path, compute: Compute | None = None) -> Made:
        """As for every source; vectors that are used where they are, are only checked.

        Raises:
            StoreError: they are not there, or no vectors: no or duplicate item tokens, NaN, damaged or unsafe files.
        """
        from recbole_ext.store import ItemEmbeddingStore

        path = self._path(dataset)
        if out.expanduser() != path:
            return super().make(dataset, out, artifacts, compute)
        if lines := self.missing(dataset):
            raise StoreError(lines[0])
        store = ItemEmbeddingStore.load(path)
        return Made(path, len(store), store.dim, up_to_date=True)

    def make_once(self, dataset: Dataset, artifacts: Path, compute: Compute | None = None) -> Path:
        """As for every source; vectors that are used where they are nobody makes, so that no claim on them is laid
        there: the place may be read-only."""
        path = self._path(dataset)
        if is_table(path):
            return super().make_once(dataset, artifacts, compute)
        for line in self.make(dataset, path, artifacts, compute).lines():
            log.info("%s", line)
        return path

    def cost(self, dataset: Dataset, artifacts: Path) -> Cost | None:
        """Whoever made them knows."""
        return None

    def learnt_from(self, dataset: Dataset, artifacts: Path) -> list[Any]:
        path = self._path(dataset)
        if not is_store_folder(path):
            return []
        meta = read_meta(path)
        known = {"sources": {str(meta.get("dataset")): meta.get("request")}, "before": meta.get("tuned_on")}
        return [known]

    def _refuse_later(self, dataset: Dataset) -> None:
        """See that a store which says what it was made of has seen nothing after the dataset's cut."""
        path = self._path(dataset)
        if is_store_folder(path):
            meta = read_meta(path)
            made_of = [meta.get("request"), meta.get("tuned_on")]
            refuse_later(f"store: {path}", made_of, str(meta.get("dataset")), dataset)

    def _path(self, dataset: Dataset) -> Path:
        return Path(self.store.replace("{dataset}", dataset.name)).expanduser()
