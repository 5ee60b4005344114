"""One run, resolved: everything that it needs, as plain values, with an identity that no file can change any more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext.benchmark.keys import WITHOUT_EFFECT
from recbole_ext.hashing import sha256_of
from recbole_ext.models import reads_text
from recbole_ext.records import RowKey, record_path

Settings = dict[str, Any]

WITHOUT_EFFECT_ON_READERS_OF_TEXT = ("encoder", "export_item_embedding", "export_encoder")
"""The same, of models that read item text themselves; another model's key of such a name is its own."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that one run needs; another process, or machine, can take it from here.

    Attributes:
        trial: the point of the search.
        config: keys of RecBole, the hook and this package, of all layers.
        dataset_fingerprint: SHA-256 over every file that RecBole reads under ``config``.
        vectors: the request hash of what the model begins from (a store, or an encoder); ``None`` for random vectors.
        store_content: SHA-256 of the store's files, if they were there when the run was resolved; it refuses others.
        folder: the benchmark's folder.
        contents: SHA-256 of what keys of ``config`` name that hold a path; see
            :mod:`recbole_ext.benchmark.contents`.
        model_code: SHA-256 of the file that holds a user's model; ``None`` for models that come with a version.
        keep_checkpoint: whether the weights of the best epoch stay beside the record.
        identity: SHA-256 over all that decides the result.
    """

    benchmark: str
    dataset: str
    model: str
    variant: str
    mode: str
    protocol: str
    seed: int
    trial: Settings
    config: Settings
    dataset_fingerprint: str
    vectors: str | None
    store_content: str | None
    expected: Mapping[str, int]
    folder: Path
    artifacts: Path
    command: str
    keep_checkpoint: bool = False
    model_code: str | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        without_effect = WITHOUT_EFFECT + (WITHOUT_EFFECT_ON_READERS_OF_TEXT if reads_text(self.model) else ())
        content = {
            "model": self.model,
            "seed": self.seed,
            "config": {
                key: self.contents.get(key, value) for key, value in self.config.items() if key not in without_effect
            },
            "dataset": self.dataset_fingerprint,
            "vectors": self.vectors,
        }
        if of_others := {name: of for name, of in self.contents.items() if name not in self.config}:
            content["contents"] = of_others
        if self.model_code is not None:
            content["model_code"] = self.model_code
        digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode())
        object.__setattr__(self, "identity", digest.hexdigest())

    @property
    def name(self) -> str:
        """File stem of the record: readable, and unique by its identity."""
        return f"{self.dataset}-{self.model}-{self.variant}-{self.protocol}-s{self.seed}-{self.identity[:12]}"

    @property
    def row(self) -> RowKey:
        """The row of the leaderboard that it belongs to."""
        return RowKey(self.dataset, self.model, self.variant, self.protocol)

    @property
    def processes(self) -> int:
        """How many processes share it."""
        return int(self.config.get("nproc") or 1)

    @property
    def store(self) -> Path | None:
        """The store that this run starts from."""
        path = self.config.get("item_embedding")
        return Path(path) if path else None

    @property
    def exports(self) -> Path | None:
        """The store that this run makes beside its record."""
        path = self.config.get("export_item_embedding")
        return Path(path) if path else None

    @property
    def record_path(self) -> Path:
        return record_path(self.folder, self.name)

    @property
    def weights_path(self) -> Path:
        """Where the weights of the best epoch are kept."""
        return self.record_path.with_suffix(".weights.pt")

    @property
    def checkpoint_path(self) -> Path:
        """Where the best epoch is while the run is under way.

        The same run may be under way for another folder of results, and is claimed there alone.
        """
        results = sha256_of(str(self.folder.resolve()))[:8]
        return self.artifacts / "checkpoints" / f"{self.benchmark}-{results}" / f"{self.name}.pth"

    @property
    def claim_path(self) -> Path:
        return self.folder / "runs" / f".{self.name}.lock"

    @property
    def progress_path(self) -> Path:
        """Where a run under way writes how far it is."""
        return self.folder / "runs" / f".{self.name}.progress.json"
