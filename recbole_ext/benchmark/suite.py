"""A suite: a benchmark file with a version, in which one initialisation stands for whatever vectors are scored."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_ext.errors import ConfigurationError
from recbole_ext.hashing import sha256_of
from recbole_ext.models import model_defaults, needs_item_vectors
from recbole_ext.yaml_files import read_yaml

Settings = dict[str, Any]

SUITES = Path(__file__).parent / "suites"
SCORED = "vectors"
"""The entry of a suite's ``initialisations`` that gets the source of the vectors that are scored."""
RANDOM = "random"
"""The entry that they are compared with; also what is scored where random vectors themselves are."""
DECIDING = ("datasets", "models", "initialisations", "grids", "seeds", "protocols", "search", "config")
"""Keys of a suite that decide results; the others say where and how fast."""


@dataclass(frozen=True)
class Suite:
    """A suite that was read and checked; ``content``: the benchmark's keys, without the version."""

    name: str
    version: int
    content: Settings
    where: str

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"

    @cached_property
    def sha256(self) -> str:
        """Over all that decides results: two files that differ here are two suites, whatever they are called."""
        return sha256_of({key: self.content[key] for key in DECIDING if key in self.content})

    def benchmark(self, name: str, source: Mapping[str, Any] | None, **keys: Any) -> Settings:
        """What the YAML of this suite's benchmark of one source says.

        Args:
            name: of the source among the initialisations, and so in the runs' names.
            source: its keys; ``None`` for random vectors alone.
            keys: of the benchmark, such as ``results``, above the suite's.

        Raises:
            ConfigurationError: ``name`` is that of another initialisation, or the source's keys say how it is attached.
        """
        content = {**copy.deepcopy(self.content), **keys}
        entries = dict(content["initialisations"])
        scored = entries.pop(SCORED)
        if source is None:
            content["initialisations"] = {RANDOM: entries[RANDOM]}
            content["models"] = {
                model: own for model, own in content["models"].items() if not self._is_of_vectors(model, own)
            }
            if not content["models"]:
                raise ConfigurationError(
                    f"{self.where}: models: a suite needs one that can begin from random vectors; these are made of "
                    "given ones."
                )
        else:
            if name in (*entries, SCORED):
                raise ConfigurationError(f"name: {name!r} is an initialisation of the suite {self}; choose another.")
            if both := sorted({*scored} & {*source}):
                raise ConfigurationError(
                    f"{both[0]}: the suite {self} says this, alike for all vectors that it scores; leave it out."
                )
            content["initialisations"] = {**entries, name: {**source, **scored}}
        content["grids"] = {
            model: self._named(dict(grid or {}), SCORED, name if source is not None else None)
            for model, grid in content.get("grids", {}).items()
            if model in content["models"]
        }
        return content

    def _is_of_vectors(self, model: str, own: Settings) -> bool:
        return needs_item_vectors(model, {**model_defaults(model), **self.content.get("config", {}), **(own or {})})

    @staticmethod
    def _named(grid: Settings, entry: str, name: str | None) -> Settings:
        if isinstance(grid.get("initialisations"), list):
            named = [name if one == entry else one for one in grid["initialisations"]]
            grid["initialisations"] = [one for one in named if one is not None]
        return grid


def find_suite(name: str | Path) -> Path:
    """The suite of this package of this name, or the file of this path.

    Raises:
        ConfigurationError: there is neither.
    """
    own = SUITES / f"{name}.yaml"
    if str(name) == Path(name).name and own.is_file():
        return own
    if (path := Path(name)).is_file():
        return path
    raise ConfigurationError(
        f"suite: {name}: no such file. Name one of {', '.join(suite_names())}, or the path of a YAML."
    )


def suite_names() -> list[str]:
    """The suites of this package, the quickest first."""
    return [name for name in ("quick", "standard", "full") if (SUITES / f"{name}.yaml").is_file()]


def load_suite(name: str | Path) -> Suite:
    """Read a suite of this package by its name, or a file of one's own.

    Raises:
        ConfigurationError: no such suite, no benchmark, no version, a version of this package's suites that it does
            not have, or no entries for random and for scored vectors; names the file and the key.
    """
    path = find_suite(name)
    content = {key: value for key, value in read_yaml(path, "a suite").items() if value is not None}
    version = content.pop("version", None)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigurationError(
            f"{path}: version: a suite needs a whole number from 1 on, one more with every change; got {version!r}."
        )
    if not isinstance(content.get("name"), str):
        raise ConfigurationError(f"{path}: name: a suite needs a name.")
    entries = content.get("initialisations")
    if not isinstance(entries, dict) or not {RANDOM, SCORED} <= entries.keys() or entries[RANDOM]:
        raise ConfigurationError(
            f"{path}: initialisations: a suite needs `{RANDOM}: {{}}` to compare with and `{SCORED}`, which gets the "
            "source of the vectors that are scored."
        )
    _require_mappings(content, str(path))
    if len(content.get("protocols", {})) > 1:
        raise ConfigurationError(f"{path}: protocols: a suite has one; make a second suite of the other.")
    entries[SCORED] = entries[SCORED] or {}
    suite = Suite(content["name"], version, content, str(path))
    suite.benchmark(RANDOM, None)  # says where no model is trained from vectors
    if path.parent != SUITES:
        refuse_unknown(suite.name, version, suite.sha256, str(path))
    return suite


def _require_mappings(content: Settings, where: str) -> None:
    """See that what is read here is of the right kind; all else is checked where the benchmark is."""
    if not content.get("models"):
        raise ConfigurationError(f"{where}: models: a mapping of models to their keys.")
    for key in ("models", "grids", "config", "protocols"):
        if not isinstance(content.get(key, {}), dict):
            raise ConfigurationError(f"{where}: {key}: a mapping; got {content[key]!r}.")
    for key in ("models", "grids", "initialisations"):
        for name, own in content.get(key, {}).items():
            if not isinstance(name, str):
                raise ConfigurationError(f"{where}: {key}: {name!r} is no name.")
            if not isinstance(own, dict | None):
                raise ConfigurationError(f"{where}: {key}: {name}: a mapping of keys to values; got {own!r}.")


def refuse_unknown(name: str, version: int, sha256: str, where: str) -> None:
    """See that what calls itself a suite of this package is one.

    Raises:
        ConfigurationError: it is of a version that this package does not know yet, or not what this version says;
            names ``where``.
    """
    if name not in suite_names():
        return
    own = load_suite(name)
    if version > own.version:
        raise ConfigurationError(
            f"{where}: version {version} of the suite {name} is unknown here: this package has version {own.version}. "
            "Update the package; a suite of your own needs a name of its own."
        )
    if version == own.version and sha256 != own.sha256:
        raise ConfigurationError(
            f"{where}: not the suite {own} of this package, which says something else. A suite of your own needs a "
            "name of its own."
        )
