"""Dataset configs: a YAML per dataset, found by name, in keys that RecBole or this package understands."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from recbole_ext.compat import recbole_folder
from recbole_ext.data.temporal import TEMPORAL, WHERE, Temporal
from recbole_ext.errors import ConfigurationError
from recbole_ext.recbole_keys import values_for_all_models
from recbole_ext.wording import did_you_mean
from recbole_ext.yaml_files import read_yaml

log = logging.getLogger(__name__)

Settings = dict[str, Any]

DATA_PATH = Path("artifacts/data")
DATASET_CONFIGS = Path("dataset_configs")
"""Where the dataset configs are by default: in the working folder, and those of this package below it."""

_PACKAGE = Path(__file__).parents[1]
PACKAGED_DATASET_CONFIGS = next(
    (folder for folder in (_PACKAGE / "dataset_configs", _PACKAGE.parent / "dataset_configs") if folder.is_dir()), None
)
"""Beside the package in a checkout; the wheel takes them into it."""

OWN_KEYS = ("item_text", "source", "expected", "recbole_name")
"""What only this package reads of a dataset config."""

SET_BY_THE_BENCHMARK = {
    "seed": "seeds",
    "data_path": "data_path at the top",
    "checkpoint_dir": "artifacts",
    "repeatable": "rank_seen_items",
}
"""RecBole's keys that are set nowhere but by a benchmark's own, and by which."""

EXACT_TIME_ORDER = "exact_time_order"
"""``true`` (the default): rows in time order are in the order of their exact times, of equal ones the file's.

``false``: RecBole's own order, which keeps times in single precision, where Unix seconds up to 128 s apart are equal
and the file's order decides. It reproduces numbers of stock RecBole.
"""


SAVED_DATA = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")
"""RecBole's keys for keeping pickled copies of a dataset."""


NUMBER_INTERVALS = ("user_inter_num_interval", "item_inter_num_interval")
"""RecBole's keys that filter users and items by their number of interactions."""

_LEFT_OUT = ("valid_and_test", "valid_only", "test_only")
"""What RecBole's leave-one-out holds out."""

EVAL_ARGS = ("split", "order", "group_by", "mode")
"""Parts of the key of this name."""

_MODE = re.compile(r"full|labeled|(uni|pop)\d+")
_INTERVAL = re.compile(r"\s*[\[(]\s*[-+\w.]+\s*,\s*[-+\w.]+\s*[\])]\s*")


def refuse_saved_data(keys: Mapping[str, Any], where: str = "") -> None:
    """See that RecBole is not asked to keep or to read a pickled copy of a dataset.

    Raises:
        ConfigurationError: it is; such a copy says nothing about the files it was made of.
    """
    for key in SAVED_DATA:
        if keys.get(key):
            raise ConfigurationError(
                f"{where}{': ' if where else ''}{key} is refused: RecBole's saved copies hand over old data "
                "once a file has changed, and they are pickles. Leave the key out: the dataset's files are read for "
                "every run."
            )


def find_config(name: str, configs: Path | str = DATASET_CONFIGS) -> Path | None:
    """The config of dataset ``name``; ``None`` where there is none.

    Of the default folder: ``dataset_configs/NAME.yaml`` of the working folder, else the packaged one of that name.
    """
    path = Path(configs) / f"{name}.yaml"
    if not path.is_file() and Path(configs) == DATASET_CONFIGS and PACKAGED_DATASET_CONFIGS:
        path = PACKAGED_DATASET_CONFIGS / path.name
    return path if path.is_file() else None


def config_of(name: str, configs: Path | str = DATASET_CONFIGS) -> Settings:
    """What the config of dataset ``name`` says; nothing where there is none.

    Raises:
        ConfigurationError: see :func:`read_config`.
    """
    path = find_config(name, configs)
    if path is None:
        return {}
    if path.parent == PACKAGED_DATASET_CONFIGS:
        _say_packaged(path)
    return read_config(path)


@cache
def _say_packaged(path: Path) -> None:
    """Once for each."""
    log.info("%s: its keys are those of %s, a config of this package. %s", path.stem, path, _own_config(path))


@contextmanager
def naming_config(name: str, configs: Path | str) -> Iterator[None]:
    """Add to errors about the keys of dataset ``name`` where its config is, and where one of the user's own goes."""
    try:
        yield
    except ConfigurationError as error:
        path = find_config(name, configs)
        if path is None:
            raise
        where = f"The dataset config is {path}."
        if path.parent == PACKAGED_DATASET_CONFIGS:
            where = f"The dataset config is {path}, one of this package. {_own_config(path)}"
        raise ConfigurationError(f"{str(error).removesuffix('.')}. {where}") from error


def _own_config(packaged: Path) -> str:
    return f"For other data of that name write {DATASET_CONFIGS / packaged.name}, which is read instead."


def read_config(path: Path) -> Settings:
    """A dataset config.

    Raises:
        ConfigurationError: not a YAML mapping, a key that nobody reads here, or a value of the wrong kind.
    """
    settings = read_yaml(path, "a dataset config")
    known, values = {*recbole_keys_of_datasets(), *OWN_KEYS, EXACT_TIME_ORDER}, values_for_all_models()
    for key, value in settings.items():
        if key in SET_BY_THE_BENCHMARK:
            raise ConfigurationError(
                f"{path}: {key!r} is not set here but by `{SET_BY_THE_BENCHMARK[key]}` of the benchmark."
            )
        if key not in known:
            hint = did_you_mean(key, known, "A model's keys stand with the model, in the benchmark.")
            raise ConfigurationError(f"{path}: {key!r} is no key of a dataset, in RecBole or here. {hint}")
        if key == "eval_args":
            check_eval_args(value, str(path))
        values.check(str(path), key, value)
    expected = settings.get("expected") or {}
    if (
        not isinstance(expected, dict)
        or not set(expected) <= {"users", "items", "interactions"}
        or any(type(count) is not int for count in expected.values())
    ):
        raise ConfigurationError(f"{path}: expected holds numbers of users, items and interactions; got {expected!r}.")
    template = settings.get("item_text") or []
    if not isinstance(template, list) or any(type(part) is not str for part in template):
        raise ConfigurationError(
            f'{path}: item_text: a list of parts in quotes, as ["{{title}}", "Brand: {{brand}}"]; got {template!r}.'
        )
    return settings


def check_eval_args(value: Any, where: str) -> None:
    """See that ``eval_args`` is a mapping and its ``split``, if it has one, a way to split with what that needs.

    (What :class:`recbole_ext.data.temporal.Temporal` needs it checks itself.)

    Raises:
        ConfigurationError: it is not; names ``where``.
    """
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}: eval_args is a mapping, such as {{mode: uni100}}; got {value!r}.")
    for part in value:
        if part not in EVAL_ARGS:
            hint = did_you_mean(str(part), EVAL_ARGS, f"There are {', '.join(EVAL_ARGS)}.")
            raise ConfigurationError(f"{where}: eval_args has no part {part!r}. {hint}")
    if value.get("order", "TO") not in ("RO", "TO"):
        raise ConfigurationError(f"{where}: eval_args.order is RO or TO; got {value['order']!r}.")
    if value.get("group_by") not in (None, "user", "none", "None"):
        raise ConfigurationError(f"{where}: eval_args.group_by is user or none; got {value['group_by']!r}.")
    if "mode" in value:
        _check_mode(value["mode"], where)
    if "split" not in value:
        return
    split = value["split"]
    ways = set(split) if isinstance(split, dict) else set()
    if not ways or not ways <= {"LS", "RS", "TS", TEMPORAL}:
        raise ConfigurationError(
            f"{where}: eval_args.split: LS, RS, TS or {TEMPORAL} with what it needs is expected, as in "
            f"{{LS: valid_and_test}}; got {split!r}."
        )
    if len(ways) > 1:
        raise ConfigurationError(f"{where}: eval_args.split: {', '.join(split)} are several splits; name one.")
    if "LS" in split and split["LS"] not in _LEFT_OUT:
        raise ConfigurationError(f"{where}: eval_args.split: LS is one of {', '.join(_LEFT_OUT)}; got {split['LS']!r}.")
    for way in ways & {"RS", "TS"}:
        if not _are_shares(split[way]):
            raise ConfigurationError(
                f"{where}: eval_args.split: {way} has the shares of training, validation and test, as in "
                f"{{{way}: [0.8, 0.1, 0.1]}}; got {split[way]!r}."
            )


def _check_mode(value: Any, where: str) -> None:
    """Of both phases, or of each of the two its own."""
    of_phases = list(value.values()) if isinstance(value, dict) and set(value) <= {"valid", "test"} else [value]
    if not of_phases or not all(isinstance(mode, str) and _MODE.fullmatch(mode) for mode in of_phases):
        raise ConfigurationError(
            f"{where}: eval_args.mode: full, labeled, or as uni100 or pop100 a way to sample and how many is expected, "
            f"or {{valid: …, test: …}} with one each; got {value!r}."
        )


def _are_shares(value: Any) -> bool:
    """Three numbers, which need not sum up to 1."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(share, int | float) and not isinstance(share, bool) and share >= 0 for share in value)
        and value[0] > 0
    )


def check_data_keys(keys: Mapping[str, Any]) -> None:
    """See that keys about data, RecBole's with nothing left out, make sense whatever the files hold.

    Raises:
        ConfigurationError: one does not; names it.
    """
    refuse_saved_data(keys)
    for key in ("field_separator", "seq_separator"):
        if not isinstance(keys[key], str) or not keys[key] or "\n" in keys[key]:
            raise ConfigurationError(f'{key}: {keys[key]!r} separates nothing. Give a character, such as "\\t".')
    splits = keys["benchmark_filename"]
    if splits is not None and not (isinstance(splits, list) and len(splits) == 3):
        raise ConfigurationError(
            f"benchmark_filename: the names of three splits are expected, as in [train, valid, test]; got {splits!r}."
        )
    for key in ("load_col", "unload_col"):
        if keys[key] is not None and not (
            isinstance(keys[key], dict)
            and all(
                part == "*" or (isinstance(part, list) and all(isinstance(name, str) for name in part))
                for part in keys[key].values()
            )
        ):
            raise ConfigurationError(
                f"{key}: lists of columns are expected, as in {{inter: [user_id, item_id]}}; got {keys[key]!r}."
            )
    both = set(keys["load_col"] or ()) & set(keys["unload_col"] or ())
    if both:
        raise ConfigurationError(f"load_col and unload_col both speak of {both.pop()!r}. Give one of them.")
    for key in (*NUMBER_INTERVALS, "entity_kg_num_interval", "relation_kg_num_interval"):
        if keys[key] is not None:
            check_interval(key, keys[key])
    if isinstance(keys["threshold"], dict):
        numbers = [value for value in keys["threshold"].values() if isinstance(value, int | float) and value == value]
        if len(keys["threshold"]) != 1 or len(numbers) != 1:
            raise ConfigurationError(
                f"threshold: one field and its number are expected, as in {{rating: 3}}; got {keys['threshold']!r}."
            )
    if keys["rm_dup_inter"] not in (None, "first", "last"):
        raise ConfigurationError(f"rm_dup_inter: first, last or nothing is expected; got {keys['rm_dup_inter']!r}.")
    if Temporal.of(keys.get("eval_args")) is not None:
        _check_temporal(keys)
    if not isinstance(keys.get(EXACT_TIME_ORDER, True), bool):
        raise ConfigurationError(f"{EXACT_TIME_ORDER}: true or false is expected; got {keys[EXACT_TIME_ORDER]!r}.")


def _check_temporal(keys: Mapping[str, Any]) -> None:
    """See that nothing else splits or orders the rows, and that nothing after the cut decides what is before it."""
    if keys["benchmark_filename"] is not None:
        raise ConfigurationError(
            f"benchmark_filename: these files are split already, and {WHERE} splits by time. Leave one of the two out."
        )
    if keys["eval_args"].get("order", "TO") != "TO":
        raise ConfigurationError(f"eval_args.order: {WHERE} needs TO, the order of time.")
    if keys.get(EXACT_TIME_ORDER, True) is not True:
        raise ConfigurationError(
            f"{EXACT_TIME_ORDER}: {WHERE} cuts at an exact time, which single precision can't tell from others; leave "
            "the key out."
        )
    if keys["rm_dup_inter"] == "last":
        raise ConfigurationError(
            f"rm_dup_inter: last takes rows of training out because of later ones, which {WHERE} keeps from training. "
            "Keep the first: rm_dup_inter: first."
        )


def check_interval(key: str, value: Any) -> None:
    """See that ``value`` is an interval, or several, as RecBole reads them; one that it can't read it passes over.

    Raises:
        ConfigurationError: it is none.
    """
    parts = str(value).split(";")
    if not all(_INTERVAL.fullmatch(part) for part in parts):
        raise ConfigurationError(f'{key}: an interval is written as in "[5,inf)"; got {value!r}.')
    for part in parts:
        try:
            low, high = (float(end) for end in part.strip()[1:-1].split(","))
        except ValueError:
            raise ConfigurationError(f"{key}: the ends of {part.strip()} are no numbers.") from None
        if low > high:
            raise ConfigurationError(f"{key}: {part.strip()} ends before it begins.")


def about_data(keys: Mapping[str, Any]) -> Settings:
    """Those of ``keys`` that say how files are read, filtered, ordered and split."""
    about = {"encoding", EXACT_TIME_ORDER, *recbole_defaults()} - {"MAX_ITEM_LIST_LENGTH"}
    told = {key: value for key, value in keys.items() if key in about}
    if keys.get("eval_args"):
        told["eval_args"] = {part: how for part, how in keys["eval_args"].items() if part != "mode"}
    return told


@cache
def recbole_keys_of_datasets() -> frozenset[str]:
    """The keys of RecBole that can stand in a dataset config: what its own defaults for data and protocol hold."""
    return frozenset({"encoding", *recbole_defaults(), *_properties("overall.yaml")})


def recbole_defaults(name: str | None = None) -> Mapping[str, Any]:
    """What RecBole takes for keys about data that nobody sets; for the datasets that it has a config of, that as well.

    (Of ml-100k it normalises all numbers, times included.)
    """
    return {**_properties("dataset/sample.yaml"), **(_properties(f"dataset/{name}.yaml") if name else {})}


@cache
def _properties(file: str) -> Mapping[str, Any]:
    path = recbole_folder() / "properties" / file
    return read_yaml(path, "RecBole's defaults") if path.is_file() else {}
