"""A way to item vectors: its settings, and how they are made from a dataset."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from recbole_ext.claims import claim
from recbole_ext.data.dataset import Dataset

log = logging.getLogger(__name__)

Settings = dict[str, Any]


class VectorSource(BaseModel, ABC):
    """Settings of a source of item vectors. Its fields are its YAML keys and its command-line options.

    A source is one file of this package with a subclass, and a line in :data:`recbole_ext.vectors.SOURCES`. The field
    called like the source (``kind``) is required and says the main thing: ``{encoder: minilm, pooling: mean}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: ClassVar[str]
    """Its name among the sources, and its leading key."""

    @abstractmethod
    def request(self, dataset: Dataset) -> Settings:
        """All that decides the vectors for this dataset, as JSON values: settings, and hashes of what is read.

        Fixed before anything is computed; reads files, computes nothing.

        Raises:
            RecboleExtError: something that it needs is not there.
        """

    @abstractmethod
    def make(self, dataset: Dataset, out: Path, artifacts: Path) -> None:
        """Make the store ``out``, whole or not at all; what else has to be made on the way goes below ``artifacts``.

        Raises:
            RecboleExtError: it can't be made.
        """

    @abstractmethod
    def width(self, dataset: Dataset) -> int | None:
        """Width of the vectors before they are made; ``None`` where only making them tells."""

    def missing(self, dataset: Dataset) -> list[str]:
        """What is not on this machine and how to get it, a line each: encoders, files."""
        return []

    def in_words(self) -> str:
        """For tables: ``encoder minilm``."""
        return f"{self.kind} {getattr(self, self.kind)}"

    def identity(self, dataset: Dataset) -> str:
        """SHA-256 of the request."""
        content = json.dumps({"kind": self.kind, **self.request(dataset)}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def store(self, dataset: Dataset, artifacts: Path) -> Path:
        """Where its store of this dataset is, or will be: named by the request, so that no other request rewrites it."""
        return artifacts / "stores" / dataset.name / f"{self.kind}-{self.identity(dataset)[:16]}"

    def make_once(self, dataset: Dataset, artifacts: Path) -> Path:
        """See that the store is there, whoever makes it; returns its path."""
        out = self.store(dataset, artifacts)
        with claim(out.with_name(f".{out.name}.lock"), wait=True):
            self.make(dataset, out, artifacts)
        return out


def parse_source(settings: Mapping[str, Any], where: str) -> VectorSource | None:
    """The source that a mapping describes, told by its leading key; ``None`` for a mapping without any.

    Raises:
        ConfigurationError: two leading keys, an unknown key, or a value out of range; names ``where`` and the key.
    """
    raise NotImplementedError
