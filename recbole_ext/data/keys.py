"""The keys that RecBole and this package give a meaning, and where each may stand in a benchmark."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError
from recbole_ext.models import model_names, no_such_model, own_model_defaults, recbole_folder

HOOK_KEYS = (
    "item_embedding",
    "item_embedding_transform",
    "item_embedding_mode",
    "item_embedding_missing",
)
PLACES = {
    "seed": "seeds",
    "data_path": "data_path at the top",
    "checkpoint_dir": "artifacts",
    "item_embedding": "initialisations.NAME.store",
    **{f"item_embedding_{part}": f"initialisations.NAME.{part}" for part in ("transform", "mode", "missing")},
}
"""Keys of RecBole or of the hook that a benchmark sets by a key of its own."""
TRAINING_KEYS = (
    "training_samples",
    "window_stride",
    "training_loss",
    "training_negatives",
    "training_negatives_shared",
    "training_logq",
    "gbce_t",
    "ft_ratio",
    "item_embedding_frozen_epochs",
    "item_embedding_bound",
    "item_embedding_dense_probability",
    "frozen_blocks",
)
DATASET_KEYS = ("item_text", "source", "expected", "recbole_name")

Settings = dict[str, Any]


def check_key(where: str, key: str, value: Any, known: set[str]) -> None:
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"{where}: no key {key!r} in RecBole or this package.{hint}")
    may_vary = key.startswith("item_embedding_") and where.endswith((": search", ": --override"))
    if key in PLACES and not may_vary:
        raise ConfigurationError(f"{where}: {key!r} is not set here but by `{PLACES[key]}` of the benchmark.")
    if key == "eval_args" and not isinstance(value, dict):
        raise ConfigurationError(f"{where}: eval_args is a mapping, such as {{mode: uni100}}; got {value!r}.")


def known_keys(models: tuple[str, ...]) -> set[str]:
    """Every key that RecBole's own YAML files or this package give a meaning for these models.

    Raises:
        ConfigurationError: there is no model of that name.
    """
    folder = recbole_folder() / "properties"
    keys = set(HOOK_KEYS) | set(TRAINING_KEYS) | set(DATASET_KEYS)
    for path in [folder / "overall.yaml", folder / "dataset" / "sample.yaml"]:
        keys |= set(_read_properties(path))
    for model in models:
        keys |= set(model_defaults(model))
    return keys


def model_defaults(model: str) -> Settings:
    """The default settings of ``model``: RecBole's, and above them this package's.

    Raises:
        ConfigurationError: there is no model of that name; suggests the closest.
    """
    if model not in model_names():
        raise no_such_model(model)
    path = recbole_folder() / "properties" / "model" / f"{model}.yaml"
    recboles = _read_properties(path) if path.is_file() else {}
    return {**recboles, **(own_model_defaults(model) or {})}


@cache
def _read_properties(path: Path) -> Settings:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml_loader()) or {}


def read_yaml(path: Path, what: str) -> Settings:
    """A YAML file that holds a mapping; ``what`` says in an error what it should be.

    Raises:
        ConfigurationError: not UTF-8, not YAML, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml_loader())
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
