"""Dataset configs: a YAML per dataset, found by name, in keys that RecBole or this package understands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.compat import recbole_folder
from recbole_ext.errors import ConfigurationError

Settings = dict[str, Any]

DATASET_CONFIGS = Path("dataset_configs")

OWN_KEYS = ("item_text", "source", "expected", "recbole_name")
"""What only this package reads of a dataset config."""

EXACT_TIME_ORDER = "exact_time_order"
"""``true`` (the default): rows in time order are in the order of their exact times, of equal ones the file's.

``false``: RecBole's own order, which keeps times in single precision, where Unix seconds up to 128 s apart are equal
and the file's order decides. It reproduces numbers of stock RecBole.
"""


def find_config(name: str, configs: Path | str = DATASET_CONFIGS) -> Path | None:
    """The config of dataset ``name``; ``None`` where there is none."""
    path = Path(configs) / f"{name}.yaml"
    return path if path.is_file() else None


def read_config(path: Path) -> Settings:
    """A dataset config.

    Raises:
        ConfigurationError: not a YAML mapping, a key that nobody reads, or a value of the wrong kind.
    """
    settings = read_yaml(path, "a dataset config")
    known = {*recbole_keys_of_datasets(), *OWN_KEYS, EXACT_TIME_ORDER}
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "Leave it out."
            raise ConfigurationError(f"{path}: neither RecBole nor this package reads {key!r} of a dataset. {hint}")
    expected = settings.get("expected") or {}
    if not isinstance(expected, dict) or not set(expected) <= {"users", "items", "interactions"}:
        raise ConfigurationError(f"{path}: expected holds numbers of users, items and interactions; got {expected!r}.")
    return settings


@cache
def recbole_keys_of_datasets() -> frozenset[str]:
    """The keys of RecBole that can stand in a dataset config: what its own defaults for data and protocol hold."""
    keys = {"encoding", "preload_weight", *recbole_defaults()}
    return frozenset({*keys, *_properties("overall.yaml")})


@cache
def _properties(file: str) -> Mapping[str, Any]:
    return read_yaml(recbole_folder() / "properties" / file, "RecBole's defaults")


def recbole_defaults() -> Mapping[str, Any]:
    """What RecBole takes for keys about data that nobody sets."""
    return _properties("dataset/sample.yaml")


def read_yaml(path: Path, what: str) -> Settings:
    """A YAML file that holds a mapping; ``what`` says in an error what it should be.

    Raises:
        ConfigurationError: not UTF-8, not YAML, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml_loader())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: {what} is a mapping of keys to values.")
    return content


@cache
def yaml_loader() -> type[yaml.SafeLoader]:
    """YAML that reads ``1e-3`` as a number, as RecBole's own loader does."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$|^[-+]?\d*\.\d+$|^[-+]?\d+\.\d*$"),
        list("-+0123456789."),
    )
    return Loader
