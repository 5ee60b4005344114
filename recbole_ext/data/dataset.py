"""A dataset: its files, its config, the text of its items, its users' histories, its fingerprint.

Every question about a dataset is asked here, so that encoding, tuning and runs read the same files under the same keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.data.files import interaction_file, read_dataset_config, recbole_keys, require_dataset
from recbole_ext.text import default_template, fields_of, key_values, read_item_fields, render_texts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Settings = dict[str, Any]
DATASET_CONFIGS = Path("dataset_configs")


@dataclass(frozen=True)
class Size:
    """Users, items and interactions; ``at_least``: interactions are not known, and no less than this."""

    users: int
    items: int
    interactions: int
    at_least: bool = False


@dataclass(frozen=True)
class Dataset:
    """A dataset as RecBole names it, under one configuration.

    Attributes:
        name: RecBole's ``dataset``.
        data_path: RecBole's ``data_path``: the folder that holds the dataset's folder.
        keys: RecBole's keys that say how its files are read and filtered (``ITEM_ID_FIELD``, ``field_separator``,
            ``load_col``, ``benchmark_filename``, …) and this package's (``item_text``, ``expected``, ``source``, ``recbole_name``).
        configs: the folder of dataset YAMLs, for :meth:`sibling`.
    """

    name: str
    data_path: Path
    keys: Settings = field(default_factory=dict)
    configs: Path = DATASET_CONFIGS

    @classmethod
    def named(
        cls,
        name: str,
        data_path: Path | str = "dataset",
        configs: Path | str = DATASET_CONFIGS,
        keys: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """The dataset with its YAML from ``configs`` (``NAME.yaml``; none is fine), and ``keys`` above that.

        Raises:
            ConfigurationError: the YAML is not a mapping, or says something unknown.
        """
        config = read_dataset_config(Path(configs) / f"{name}.yaml")
        config = config or {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
        return cls(name, Path(data_path), {**config, **(keys or {})}, Path(configs))

    @classmethod
    def of_config(cls, config: Any) -> Dataset:
        """The dataset of a RecBole ``Config``, under all keys of that run."""
        # RecBole has put the dataset's own folder into the key.
        return cls(str(config["dataset"]), Path(config["data_path"]).parent, dict(config.final_config_dict))

    def sibling(self, name: str) -> Dataset:
        """Another dataset in the same places: ``data_path`` and folder of YAMLs."""
        return Dataset.named(name, self.data_path, self.configs)

    def with_keys(self, keys: Mapping[str, Any]) -> Dataset:
        """This dataset under more keys, such as those of one run."""
        return replace(self, keys={**self.keys, **keys})

    @property
    def recbole_keys(self) -> Settings:
        """What of ``keys`` is RecBole's."""
        return recbole_keys(self.keys)

    @property
    def folder(self) -> Path:
        """Where its files are; ml-100k lies in RecBole's wheel."""
        return interaction_file(self.name, str(self.data_path)).parent

    @property
    def item_field(self) -> str:
        return str(self.keys.get("ITEM_ID_FIELD") or "item_id")

    @property
    def expected(self) -> dict[str, int]:
        """The counts that its config states: of ``users``, ``items``, ``interactions``."""
        return dict(self.keys.get("expected") or {})

    def require(self) -> None:
        """See that its files are there; what RecBole knows by name is downloaded.

        Raises:
            SourceDataError: they are not there; says how to get them.
        """
        require_dataset(self.name, str(self.data_path), self.keys.get("recbole_name"))

    def files(self) -> list[Path]:
        """Every file that RecBole reads under these keys and that is there, in a fixed order."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """SHA-256 over names and contents of :meth:`files`."""
        digest = hashlib.sha256()
        for path in self.files():
            digest.update(json.dumps([path.name, hashlib.sha256(path.read_bytes()).hexdigest()]).encode())
        return digest.hexdigest()

    def check(self) -> list[str]:
        """Read the files as RecBole would and say what of them is left out or reordered, a sentence each.

        Raises:
            SourceDataError: something that RecBole can't read, or would read as something else; names file, line and column.
            ConfigurationError: the counts are not the ``expected`` ones.
        """
        raise NotImplementedError

    def size(self) -> Size | None:
        """Counted in the files, under the keys' field names; else what the config expects; ``None`` if neither says it."""
        raise NotImplementedError

    @property
    def item_file(self) -> Path:
        return self.folder / f"{self.name}.item"

    def item_fields(self) -> pd.DataFrame:
        """The ``.item`` file; see :func:`recbole_ext.text.read_item_fields`."""
        return read_item_fields(self.item_file, self.item_field)

    def template(self, template: Sequence[str] | None = None) -> list[str]:
        """The parts of an item's text: ``template`` if given, else the config's ``item_text``, else all text fields."""
        return list(template or self.keys.get("item_text") or default_template(self.item_fields()))

    def item_texts(self, template: Sequence[str] | None = None) -> pd.Series:
        """The text of each item of the ``.item`` file, ``""`` for none, by item token."""
        return render_texts(self.item_fields(), self.template(template))

    def attributes(self, attributes: Sequence[str] | None = None) -> list[str]:
        """The fields that RECFORMER reads: ``attributes`` if given, else those that the text's template names."""
        return list(attributes or fields_of(self.template()))

    def item_key_values(self, attributes: Sequence[str] | None = None) -> dict[str, list[tuple[str, str]]]:
        """Pairs of key and value of each item, as RECFORMER reads it, by item token.

        ``attributes`` are the fields to read; by default those that the text's template names.
        """
        fields = self.item_fields()
        pairs = key_values(fields, self.attributes(attributes))
        return dict(zip(map(str, fields.index), pairs, strict=True))

    def training_histories(self) -> list[np.ndarray]:
        """Every user's training items as tokens, oldest first, under RecBole's filters and these keys' split."""
        raise NotImplementedError
