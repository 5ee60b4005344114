"""The keys that RecBole, the hook and this package give a meaning: which models have them, what values they take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recbole_ext.compat import recbole_folder
from recbole_ext.data.config import refuse_saved_data
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import model_defaults
from recbole_ext.wording import did_you_mean

Settings = dict[str, Any]

HOOK_KEYS: dict[str, tuple[str, ...]] = {
    "item_embedding": ("str",),
    "item_embedding_transform": ("list",),
    "item_embedding_mode": ("str",),
    "item_embedding_missing": ("str",),
    "item_embedding_scale": ("float", "None"),
    "item_embedding_bound": ("float", "None"),
    "item_embedding_dense_probability": ("float", "None"),
}
TRAINING_KEYS: dict[str, tuple[str, ...]] = {
    "rank_seen_items": ("bool", "str", "None"),
    "training_samples": ("str",),
    "window_stride": ("int", "None"),
    "training_loss": ("str",),
    "training_negatives": ("int", "None"),
    "training_negatives_shared": ("bool", "None"),
    "training_logq": ("bool", "None"),
    "gbce_t": ("float", "None"),
    "item_embedding_frozen_epochs": ("int", "None"),
    "frozen_blocks": ("int", "None"),
    "exact_time_order": ("bool",),
    "nproc": ("int",),
    "diversity_vectors": ("str", "None"),
}
MEANINGS: dict[str, str] = {
    "item_embedding": "The store of item vectors; absent: the model's own random ones.",
    "item_embedding_transform": "What is done to the vectors before, in order: `center`, `l2`, `{pca: D}`, "
    "`{width: D}`, `{select: D}`, `whiten`, `{scale: S}`.",
    "item_embedding_mode": "`full` (trained like any parameter, the default), `frozen`, `adapter` (a trained linear "
    "map), `bounded` (frozen and a change of bounded norm) or `dual` (trained rows, and a map for unseen items).",
    "item_embedding_missing": "Items that the store lacks: `error` (the default), `mean` or `random`.",
    "item_embedding_scale": "The standard deviation of the vectors' entries, after the transforms; of random vectors "
    "too.",
    "item_embedding_bound": "Of `bounded`: the largest norm of the change, in units of the vectors' mean norm; 0.5 by "
    "default.",
    "item_embedding_dense_probability": "Of `dual`: how often an item takes the map in training; 0.5 by default.",
    "rank_seen_items": "Whether evaluation ranks items that the user has had: `true`, `false`, or `auto` (the "
    "benchmark's default): not where no user repeats one.",
    "training_samples": "What is trained on: `auto` (the fastest way that the model proves exact), `user`, `prefix` or "
    "`augmented` (RecBole's samples to the last bit).",
    "window_stride": "Begin windows of long histories at every so many items: cheaper, and no longer exact.",
    "training_loss": "`model` (its own), or for dot-product scorers `softmax`, `sampled_softmax`, `bce`, `gbce`, "
    "`sce`.",
    "training_negatives": "How many items a sampled loss draws.",
    "training_negatives_shared": "One draw for all targets of a part instead of one for each.",
    "training_logq": "Of `sampled_softmax`: correct for the sampling.",
    "gbce_t": "Of `gbce`: from 0 (plain BCE) to 1 (fully calibrated); 0.75 by default.",
    "item_embedding_frozen_epochs": "In mode `full`: for so many epochs the vectors stay as they are.",
    "frozen_blocks": "So many first transformer blocks stay as they were initialised.",
    "nproc": "Processes that share a run, one for each GPU: each computes its part of every batch. Sequential models "
    "with RecBole's own trainer; 1 by default.",
    "diversity_vectors": "Of the metric `IntraListDistance`: the store in whose vectors lists are diverse.",
    "exact_time_order": "Order by the exact time in the file (the default); `false`: RecBole's single precision.",
}
"""Every key of the hook and of training, in words for the reference."""
PLACES = {
    "seed": "seeds",
    "data_path": "data_path at the top",
    "checkpoint_dir": "artifacts",
    "repeatable": "rank_seen_items",
    "dataset": "datasets",
    "model": "models",
    "item_embedding": "initialisations.NAME",
    **{
        f"item_embedding_{part}": f"initialisations.NAME.{part}"
        for part in ("transform", "mode", "missing", "scale", "bound", "dense_probability")
    },
}
"""Keys of RecBole or of the hook that a benchmark sets by a key of its own."""
_UNTYPED = (
    "eval_args",
    "train_neg_sample_args",
    "valid_neg_sample_args",
    "test_neg_sample_args",
    "valid_metric",
    "gpu_id",
)
"""Keys that are checked elsewhere, or take what RecBole's comments don't say."""
_SIZES = (
    "epochs",
    "train_batch_size",
    "eval_batch_size",
    "MAX_ITEM_LIST_LENGTH",
    "hidden_size",
    "embedding_size",
    "inner_size",
    "n_layers",
    "n_heads",
    "nproc",
)
"""Keys whose values are at least 1; RecBole finds out when it builds the model, divides by them, or never."""
_WORDS_OF = {
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
    "hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"),
}
"""Keys of a few words that RecBole does not document; of another optimizer's name it makes Adam."""
_RANGE = re.compile(r"Range in \W*\[([^\]]+)\]")
_COMMENTED = re.compile(r"^(\w+)\s*:(.*?)(?:#\s*\(([^)]*)\).*)?$")
_WORDS = {"string": "str", "none": "None", "boolean": "bool"}


@dataclass(frozen=True)
class Keys:
    """The keys that one model knows.

    Attributes:
        types: name to the types that its value may have (empty: any).
        words: name to the texts that it may be, where they are a few.
    """

    model: str
    types: Mapping[str, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]

    def check(self, where: str, key: str, value: Any) -> None:
        """See that this model has ``key`` and that ``value`` is of a type, or one of the few words, that it takes.

        Raises:
            ConfigurationError: it is not; names ``where``, the key, and the closest one that there is.
        """
        if key not in self.types:
            raise ConfigurationError(
                f"{where}: {self.model} has no key {key!r}. {did_you_mean(key, self.types)}".rstrip()
            )
        refuse_saved_data({key: value}, where)
        if key == "eval_args" and not isinstance(value, dict):
            raise ConfigurationError(f"{where}: eval_args is a mapping, such as {{mode: uni100}}; got {value!r}.")
        types = self.types[key]
        if types and key not in _UNTYPED and not any(_is(value, kind) for kind in types):
            raise ConfigurationError(f"{where}: {key} should be {' or '.join(types)}; got {value!r}.")
        words = self.words.get(key, ())
        if words and isinstance(value, str) and not {value, value.lower()} & set(words):
            hint = did_you_mean(value, words)
            raise ConfigurationError(
                f"{where}: {key} should be one of {', '.join(words)}; got {value!r}. {hint}".rstrip()
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_number(where, key, value)


@cache
def keys_of(model: str) -> Keys:
    """The keys of ``model``: RecBole's for every run, the model's own, the hook's and this package's.

    Raises:
        ConfigurationError: there is no model of that name.
    """
    defaults = model_defaults(model)
    folder = recbole_folder() / "properties"
    types: dict[str, tuple[str, ...]] = {**HOOK_KEYS, **TRAINING_KEYS}
    words = dict(_WORDS_OF)
    for path in (folder / "overall.yaml", folder / "dataset" / "sample.yaml", folder / "model" / f"{model}.yaml"):
        types |= _commented_types(path) if path.is_file() else {}
        words |= _commented_words(path) if path.is_file() else {}
    for key, value in defaults.items():
        types.setdefault(key, _type_of(value))
    # RecBole reads these without a default.
    types |= {"eval_neg_sample_args": (), "eval_type": ()}
    return Keys(model, types, words)


def _check_number(where: str, key: str, value: float) -> None:
    if key in _SIZES and value < 1:
        raise ConfigurationError(f"{where}: {key} should be at least 1; got {value!r}.")
    if key == "learning_rate" and not 0 < value < math.inf:
        raise ConfigurationError(f"{where}: {key} should be a number above 0; got {value!r}.")
    if key.endswith("dropout_prob") and not 0 <= value < 1:
        raise ConfigurationError(f"{where}: {key} should be from 0 to less than 1; got {value!r}.")


@cache
def _commented_words(path: Path) -> dict[str, tuple[str, ...]]:
    """Key to words, from the same comments: ``loss_type: 'CE'  # (str) … Range in ['BPR', 'CE'].``"""
    words = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found, commented = _RANGE.search(line), _COMMENTED.match(line)
        if found and commented and (commented.group(3) or "").strip() == "str":
            words[commented.group(1)] = tuple(word.strip(" '\"`") for word in found.group(1).split(","))
    return words


@cache
def _commented_types(path: Path) -> dict[str, tuple[str, ...]]:
    """Key to types, from the comments by which RecBole documents its YAML files: ``topk: [10]  # (list or int …)``."""
    types = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if (match := _COMMENTED.match(line)) is None:
            continue
        key, default, comment = match.groups()
        words = [re.split(r"\s+of\s+|,", word.strip())[0] for word in (comment or "").split(" or ")]
        words = [_WORDS.get(word.lower(), word) for word in words]
        known = tuple(word for word in words if word in _CHECKS)
        # `~` is how RecBole writes "off", whatever the comment says, and no mapping is off too.
        off = "dict" in known or default.strip() in ("~", "None", "null")
        types[key] = (*known, "None") if known and off else known
    return types


def _type_of(default: Any) -> tuple[str, ...]:
    if default is None:
        return ()
    kind = type(default).__name__
    return (kind,) if kind in _CHECKS else ()


def _is(value: Any, kind: str) -> bool:
    return bool(_CHECKS[kind](value))


_CHECKS = {
    "int": lambda v: (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer()),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "list": lambda v: isinstance(v, list | tuple),
    "dict": lambda v: isinstance(v, dict),
    "None": lambda v: v is None,
}
