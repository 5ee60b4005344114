"""A dataset: its files, its config, the text of its items, its users' histories, its fingerprint.

Every question about a dataset is asked here, so that encoding, tuning and runs read the same files under the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.data.checks import check
from recbole_ext.data.config import (
    DATA_PATH,
    DATASET_CONFIGS,
    OWN_KEYS,
    about_data,
    config_of,
    naming_config,
    recbole_defaults,
)
from recbole_ext.data.cuts import counted as counted_cut
from recbole_ext.data.cuts import trained_items
from recbole_ext.data.files import (
    dataset_folder,
    dataset_meant,
    download_url,
    interaction_suffixes,
    require_files,
    splits_rows,
    suffixes_read,
)
from recbole_ext.data.histories import Histories, training_histories
from recbole_ext.data.sizes import Size, counted, ids_in
from recbole_ext.data.temporal import Cut, Temporal
from recbole_ext.errors import SourceDataError
from recbole_ext.hashing import sha256_of, sha256_of_file
from recbole_ext.recbole_models import recbole_name
from recbole_ext.text import default_template, fields_of, key_values, read_item_fields, render_parts, render_texts

if TYPE_CHECKING:
    import pandas as pd

Settings = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A dataset as RecBole names it, under one configuration.

    Attributes:
        name: RecBole's ``dataset``.
        data_path: RecBole's ``data_path``: the folder that holds the dataset's folder.
        keys: RecBole's keys, of which those say how its files are read, filtered and split (``ITEM_ID_FIELD``,
            ``field_separator``, ``load_col``, ``benchmark_filename``, …), and this package's (``item_text``,
            ``expected``, ``source``, ``recbole_name``, ``exact_time_order``). All keys of a run may be there; its
            ``model`` or ``MODEL_TYPE`` says whether a knowledge graph is read, and whether rows or samples are split.
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
        data_path: Path | str = DATA_PATH,
        configs: Path | str = DATASET_CONFIGS,
        keys: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """The dataset with its YAML from ``configs`` (``NAME.yaml``; none is fine), and ``keys`` above that.

        Raises:
            ConfigurationError: the YAML is not a mapping, or says something unknown.
        """
        return cls(name, Path(data_path), {**config_of(name, configs), **(keys or {})}, Path(configs))

    @classmethod
    def of_config(cls, config: Any) -> Dataset:
        """The dataset of a RecBole ``Config``, under all keys of that run.

        The model goes by RecBole's name: what is made from one that reads a knowledge graph reads one too.
        """
        keys = {**config.final_config_dict, "model": recbole_name(config.model_class)}
        # RecBole has put the dataset's own folder into the key.
        return cls(str(config["dataset"]), Path(config["data_path"]).parent, keys)

    def sibling(self, name: str) -> Dataset:
        """Another dataset in the same places: ``data_path`` and folder of YAMLs."""
        return Dataset.named(name, self.data_path, self.configs)

    def with_keys(self, keys: Mapping[str, Any]) -> Dataset:
        """This dataset under more keys, such as those of one run."""
        return replace(self, keys={**self.keys, **keys})

    @property
    def recbole_keys(self) -> Settings:
        """What of ``keys`` RecBole is told.

        Where no ``load_col`` is given, it is user, item and time: RecBole's own default has no time to order by.
        """
        told = {key: value for key, value in self.keys.items() if key not in OWN_KEYS}
        if "load_col" not in told:
            told["load_col"] = {"inter": [self.user_field, self.item_field, self.time_field]}
        return told

    @property
    def effective_keys(self) -> Settings:
        """``recbole_keys`` above what RecBole takes for those about data that are not there."""
        return {**recbole_defaults(self.name), **self.recbole_keys}

    @property
    def folder(self) -> Path:
        """Where its files are; ml-100k lies in RecBole's wheel."""
        return dataset_folder(self.name, self.data_path)

    @property
    def user_field(self) -> str:
        """The field that holds the user's id."""
        return str(self.keys.get("USER_ID_FIELD") or recbole_defaults()["USER_ID_FIELD"])

    @property
    def item_field(self) -> str:
        """The field that holds the item's id."""
        return str(self.keys.get("ITEM_ID_FIELD") or recbole_defaults()["ITEM_ID_FIELD"])

    @property
    def time_field(self) -> str:
        """The field that interactions are ordered by."""
        return str(self.keys.get("TIME_FIELD") or recbole_defaults()["TIME_FIELD"])

    @property
    def expected(self) -> dict[str, int]:
        """The counts that its config states: of ``users``, ``items``, ``interactions``."""
        return dict(self.keys.get("expected") or {})

    def require(self, download: bool = True) -> None:
        """See that its files of interactions are there; what RecBole knows by name is downloaded.

        Raises:
            SourceDataError: they are not there; says how to get them.
        """
        suffixes = interaction_suffixes(self.effective_keys)
        require_files(self.name, self.data_path, suffixes, self.keys.get("recbole_name"), download)

    @property
    def url(self) -> str | None:
        """Where :meth:`require` downloads it from; ``None`` where it is here, or RecBole does not know it."""
        return None if self.folder.exists() else download_url(self.name, self.keys.get("recbole_name"))

    def files(self) -> list[Path]:
        """Every file that RecBole reads under these keys and that is there, in a fixed order."""
        paths = (self.folder / f"{self.name}.{suffix}" for suffix in suffixes_read(self.effective_keys))
        return [path for path in paths if path.is_file()]

    def fingerprint(self) -> str:
        """SHA-256 over names and contents of :meth:`files`."""
        return sha256_of([[path.name, sha256_of_file(path)] for path in self.files()])

    def check(self, text: bool = False) -> list[str]:
        """Read the files as RecBole would and say what of them is left out or put in another order, a sentence each,
        which names the file but not the dataset.

        Everything is read once, and again only when files or keys have changed: 10 million interactions in 18 seconds
        of one core, and where keys filter, 50 more for RecBole's own filters.

        Args:
            text: whether the items' text is wanted too, so that ``.item`` has to be there.

        Raises:
            SourceDataError: something that RecBole can't read, or would read as something else; names file, line and
                column.
            ConfigurationError: a key that makes no sense or does not fit the files, or counts that are not the
                ``expected`` ones.
        """
        return check(self, text)

    def size(self) -> Size | None:
        """Users and items as the config expects them after its filters; else counted in the files, before filters.

        ``None`` if neither says it. Interactions that neither says are the fewest that the filter allows.
        """
        expected = self.expected
        known = {"users", "items"} <= set(expected)
        if known and "interactions" in expected:
            return Size(expected["users"], expected["items"], expected["interactions"])
        if paths := self._interaction_files():
            found = counted(paths, self.effective_keys)
            return Size(expected["users"], expected["items"], found.interactions) if known else found
        if not known:
            return None
        fewest = str(self.keys.get("user_inter_num_interval") or "[3,").strip("[( ").partition(",")[0]
        return Size(expected["users"], expected["items"], expected["users"] * int(float(fewest)))

    def items(self) -> set[str] | None:
        """The tokens of the items in its interactions, before RecBole's filters; ``None`` where the files are not here.

        Raises:
            SourceDataError: a header can't be read, or lacks the user or the item.
        """
        paths = self._interaction_files()
        return ids_in(paths, self.effective_keys)[1] if paths else None

    def _interaction_files(self) -> list[Path]:
        """The files of interactions; none unless all of them are there."""
        paths = [self.folder / f"{self.name}.{suffix}" for suffix in interaction_suffixes(self.effective_keys)]
        return paths if all(path.is_file() for path in paths) else []

    @property
    def item_file(self) -> Path:
        """Where the fields of its items are, if it has any."""
        return self.folder / f"{self.name}.item"

    def item_fields(self) -> pd.DataFrame:
        """The ``.item`` file; see :func:`recbole_ext.text.read_item_fields`."""
        if not self.item_file.is_file():
            said = [
                f"{self.item_file}: no such file, so dataset {self.name!r} has no item text.",
                dataset_meant(self.name, self.folder),
                "Make it with `recbole-ext convert`, or point data_path to the folder that holds the dataset's folder.",
            ]
            raise SourceDataError(" ".join(filter(None, said)))
        keys = self.effective_keys
        return read_item_fields(
            self.item_file, self.item_field, keys["field_separator"], keys["seq_separator"], keys.get("encoding")
        )

    def template(self, template: Sequence[str] | None = None) -> list[str]:
        """The parts of an item's text: ``template`` if given, else the config's ``item_text``, else all text fields."""
        return self._template(template)

    def item_texts(self, template: Sequence[str] | None = None) -> pd.Series:
        """The text of each item of the ``.item`` file, ``""`` for none, by item token; see :meth:`template`."""
        fields = self.item_fields()
        return render_texts(fields, self._template(template, fields))

    def item_parts(self) -> list[list[str]]:
        """The parts of each item's text before they are joined, in the order of the ``.item`` file."""
        fields = self.item_fields()
        return render_parts(fields, self._template(None, fields))

    def attributes(self, attributes: Sequence[str] | None = None) -> list[str]:
        """The fields that RECFORMER reads: ``attributes`` if given, else those that the text's template names."""
        return list(attributes or fields_of(self.template()))

    def item_key_values(self, attributes: Sequence[str] | None = None) -> dict[str, list[tuple[str, str]]]:
        """Pairs of key and value of each item, as RECFORMER reads it, by item token.

        ``attributes`` are the fields to read; by default those that the text's template names.
        """
        fields = self.item_fields()
        pairs = key_values(fields, list(attributes or fields_of(self._template(None, fields))))
        return dict(zip(map(str, fields.index), pairs, strict=True))

    def _template(self, template: Sequence[str] | None, fields: pd.DataFrame | None = None) -> list[str]:
        """See :meth:`template`; ``fields``: those of the ``.item`` file, where they have been read already."""
        chosen = template or self.keys.get("item_text")
        if not chosen:
            chosen = default_template(self.item_fields() if fields is None else fields)
        return [chosen] if isinstance(chosen, str) else list(chosen)

    def cut(self) -> Cut | None:
        """Where the protocol ``temporal`` cuts it, as exact times; ``None`` under another protocol.

        Raises:
            ConfigurationError: nothing is left on one side of it; see :func:`recbole_ext.data.cuts.counted`.
        """
        if not self._is_temporal:
            return None
        self.require()
        return counted_cut(self).cut

    def items_to_fit_on(self) -> list[str] | None:
        """The tokens of the items that may decide what is done to all vectors, sorted; ``None``: all.

        Under ``temporal`` those of training; :func:`recbole_ext.attach.items_to_fit_on` says the same of a run's data.

        Raises:
            ConfigurationError: as :meth:`cut`.
        """
        if not self._is_temporal:
            return None
        self.require()
        return trained_items(self)

    @property
    def _is_temporal(self) -> bool:
        return Temporal.of(self.keys.get("eval_args")) is not None

    def histories_request(self) -> Settings:
        """What decides :meth:`training_histories`, as JSON values: the files, the keys that filter and split them."""
        request = {"files": self.fingerprint(), "keys": about_data(self.recbole_keys)}
        return {**request, "split": "rows"} if self.splits_rows else request

    @property
    def splits_rows(self) -> bool:
        """Whether a user's rows are split, and not the samples that a sequential model makes of them. Files that are
        split already are the same for all models."""
        return self.keys.get("benchmark_filename") is None and splits_rows(self.keys)

    def training_histories(self) -> Histories:
        """Every user's training items as tokens, oldest first, under RecBole's filters and these keys' split.

        The split is leave-one-out where the keys have no ``eval_args``, and a sequential model's where they have no
        model. Nothing of validation and test is among them; under ``temporal`` nothing that is later than the first
        cut, of any user.
        """
        self.require()
        with naming_config(self.name, self.configs):
            return training_histories(self.name, self.folder, self.effective_keys)
