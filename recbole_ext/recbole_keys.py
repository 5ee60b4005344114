"""What the keys of RecBole may be set to, by the comments with which it documents its YAML files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recbole_ext.compat import recbole_folder
from recbole_ext.errors import ConfigurationError
from recbole_ext.wording import did_you_mean

_UNTYPED = (
    "eval_args",
    "train_neg_sample_args",
    "valid_neg_sample_args",
    "test_neg_sample_args",
    "valid_metric",
    "gpu_id",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "entity_kg_num_interval",
    "relation_kg_num_interval",
)
"""Keys that are checked elsewhere, or take what RecBole's comments don't say."""
Range = tuple[str, Callable[[float], bool]]
"""In words, and whether a number is in it."""
ABOVE_0: Range = ("a number above 0", lambda value: 0 < value < math.inf)
FROM_0: Range = ("0 or more", lambda value: 0 <= value < math.inf)
FROM_0_TO_1: Range = ("from 0 to 1", lambda value: 0 <= value <= 1)
FROM_1: Range = ("at least 1", lambda value: value >= 1)
_ANY: Range = ("a number", lambda value: True)
_DROPOUT: Range = ("from 0 to less than 1", lambda value: 0 <= value < 1)
_RANGES: dict[str, Range] = {
    "epochs": FROM_1,
    "train_batch_size": FROM_1,
    "eval_batch_size": FROM_1,
    "MAX_ITEM_LIST_LENGTH": FROM_1,
    "hidden_size": FROM_1,
    "embedding_size": FROM_1,
    "inner_size": FROM_1,
    "n_layers": FROM_1,
    "n_heads": FROM_1,
    "nproc": FROM_1,
    "learning_rate": ABOVE_0,
    "weight_decay": FROM_0,
    "stopping_step": FROM_0,
    "worker": FROM_0,
    "mask_ratio": ("above 0 and less than 1", lambda value: 0 < value < 1),
}
"""Of keys whose other values RecBole finds out about when it builds the model, divides by them, or never."""
_WORDS_OF = {
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
    "hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"),
}
"""Keys of a few words that RecBole does not document; of another optimizer's name it makes Adam."""
_WITHOUT_DEFAULT = {
    "encoding": ("str", "None"),
    "eval_neg_sample_args": (),
    "eval_type": (),
    "tail_ratio": ("float", "None"),
}
"""Keys that RecBole reads and that stand in none of its files."""
_RANGE = re.compile(r"Range in \W*\[([^\]]+)\]")
_COMMENTED = re.compile(r"^(\w+)\s*:(.*?)(?:#\s*\(([^)]*)\).*)?$")
_WORDS = {"string": "str", "none": "None", "boolean": "bool"}


@dataclass(frozen=True)
class Values:
    """What values keys take.

    Attributes:
        types: name to the types that its value may have (empty: any).
        words: name to the texts that it may be, where they are a few.
        ranges: name to what it may be as a number, where that is not any.
    """

    types: Mapping[str, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]
    ranges: Mapping[str, Range]

    def check(self, where: str, key: str, value: Any) -> None:
        """See that ``value`` is of a type, one of the few words, or in the range, that ``key`` takes.

        Raises:
            ConfigurationError: it is not; names ``where``, the key, and the closest word that there is.
        """
        types = self.types.get(key, ())
        if types and key not in _UNTYPED and not any(_CHECKS[kind](value) for kind in types):
            wanted = " or ".join(_IN_WORDS[kind] for kind in types)
            raise ConfigurationError(f"{where}: {key}: {wanted} is needed; got {value!r}.")
        words = self.words.get(key, ())
        if words and isinstance(value, str) and not {value, value.lower()} & set(words):
            hint = did_you_mean(value, words)
            raise ConfigurationError(
                f"{where}: {key} should be one of {', '.join(words)}; got {value!r}. {hint}".rstrip()
            )
        wanted, fits = self.ranges.get(key) or (_DROPOUT if key.endswith("dropout_prob") else _ANY)
        if isinstance(value, int | float) and not isinstance(value, bool) and not fits(value):
            raise ConfigurationError(f"{where}: {key} should be {wanted}; got {value!r}.")


@cache
def values_for_all_models() -> Values:
    """Of the keys of every run and of its data."""
    files = [recbole_folder() / "properties" / name for name in ("overall.yaml", "dataset/sample.yaml")]
    types, words = dict(_WITHOUT_DEFAULT), dict(_WORDS_OF)
    for path in files:
        types |= documented_types(path)
        words |= documented_words(path)
    return Values(types, words, _RANGES)


@cache
def documented_words(path: Path) -> dict[str, tuple[str, ...]]:
    """Key to words, from the comments of a file: ``loss_type: 'CE'  # (str) … Range in ['BPR', 'CE'].``"""
    words = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found, commented = _RANGE.search(line), _COMMENTED.match(line)
        if found and commented and (commented.group(3) or "").strip() == "str":
            words[commented.group(1)] = tuple(word.strip(" '\"`") for word in found.group(1).split(","))
    return words


@cache
def documented_types(path: Path) -> dict[str, tuple[str, ...]]:
    """Key to types, from the comments of a file: ``topk: [10]  # (list or int or None) …``."""
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


def types_of(default: Any) -> tuple[str, ...]:
    """The types of a key that is documented by its default alone."""
    kind = type(default).__name__
    return (kind,) if default is not None and kind in _CHECKS else ()


_CHECKS = {
    "int": lambda v: (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer()),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "list": lambda v: isinstance(v, list | tuple),
    "dict": lambda v: isinstance(v, dict),
    "None": lambda v: v is None,
}
_IN_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
    "None": "null",
}
