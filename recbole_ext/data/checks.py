"""A dataset's keys and files looked over before anything is computed, by the rules by which RecBole reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recbole_ext.compat import users_that_single_precision_reorders
from recbole_ext.data.config import (
    EXACT_TIME_ORDER,
    NUMBER_INTERVALS,
    about_data,
    check_data_keys,
    check_interval,
    naming_config,
)
from recbole_ext.data.cuts import are_places, counted
from recbole_ext.data.files import (
    history_column,
    interaction_suffixes,
    model_kind,
    reads_knowledge,
    stamp,
    suffixes_read,
)
from recbole_ext.data.given_checks import check_splits
from recbole_ext.data.loaded import Loaded
from recbole_ext.data.sizes import Size, counted_by_recbole
from recbole_ext.data.tables import Table
from recbole_ext.data.temporal import TEMPORAL, WHERE, Temporal
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.text import fields_of

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Dataset

_NAMING_FIELDS = (
    "val_interval",
    "threshold",
    "normalize_field",
    "numerical_features",
    "discretization",
    "preload_weight",
    "alias_of_user_id",
    "alias_of_item_id",
)
_SENTENCES: dict[str, list[str]] = {}


def check(dataset: Dataset, text: bool = False) -> list[str]:
    """See :meth:`recbole_ext.data.dataset.Dataset.check`."""
    keys = dataset.effective_keys
    check_data_keys(keys)
    dataset.require()
    # The runs of a benchmark ask the same over and over.
    paths = [*dataset.files(), *([dataset.item_file] if dataset.item_file.is_file() else [])]
    ours = (text, dataset.expected, dataset.keys.get("item_text"), model_kind(keys), reads_knowledge(keys))
    request = stamp(paths, dataset.name, about_data(keys), ours)
    if request not in _SENTENCES:
        _SENTENCES[request] = _Check(dataset).sentences(text)
    return list(_SENTENCES[request])


class _Check:
    """One dataset's files, each made a table once, in the order in which they can be judged."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.name, self.keys = dataset.name, dataset.effective_keys
        self.user, self.item, self.time = dataset.user_field, dataset.item_field, dataset.time_field
        order = (self.keys.get("eval_args") or {"order": "TO"}).get("order")
        self.splits = self.keys["benchmark_filename"]
        self.temporal = Temporal.of(self.keys.get("eval_args"))
        self.by_time = self.splits is None and (order == "TO" or model_kind(self.keys) == "SEQUENTIAL")
        self.found: list[str] = []
        self.types: dict[str, str] = {}  # of all fields that are loaded

    def sentences(self, text: bool) -> list[str]:
        interactions = {suffix: self._interactions(suffix) for suffix in interaction_suffixes(self.keys)}
        others = [suffix for suffix in suffixes_read(self.keys) if suffix not in interactions]
        tables = {suffix: table for suffix in others if (table := self._others(suffix)) is not None}
        self._check_fields_of_keys()
        if self.splits is not None:
            self._say(*check_splits(self.dataset, interactions, tables.get("item")))
        for field, suffix in ((self.user, "user"), (self.item, "item"), (self.item, "link")):
            if suffix in tables:
                self._compare(interactions, tables[suffix], field, suffix)
        if text:
            self._check_text(interactions, tables.get("item"))
        with naming_config(self.name, self.dataset.configs):
            self._count(interactions, tables)
        if self.temporal is not None:
            self._say_cut(self.temporal)
        return self.found

    # -- one file ---------------------------------------------------------------------------------------------------

    def _open(self, suffix: str) -> Loaded:
        file = Loaded.of(self.dataset.folder / f"{self.name}.{suffix}", self.keys)
        self.types |= file.types
        return file

    def _say_missing(self, file: Loaded, frame: pd.DataFrame) -> None:
        """How many of the numbers are missing, but for times that have to be there."""
        for name in file.numbers:
            without = int(frame[name].isna().sum())
            if without and not (name == self.time and (self.by_time or self.splits is not None)):
                mean = "the mean of training's is taken" if self._is_cut(file) else "RecBole takes the mean"
                self._say(f"{file.table.path.name}: {without:,} rows have no {name!r}; {mean} for it")

    def _is_cut(self, file: Loaded) -> bool:
        """Whether the file's rows are interactions that are cut in time."""
        return self.temporal is not None and file.table.path.suffix == ".inter"

    def _interactions(self, suffix: str) -> pd.DataFrame:
        file = self._open(suffix)
        file.require(self.user, "USER_ID_FIELD", "which holds the users' ids")
        file.require(self.item, "ITEM_ID_FIELD", "which holds the items' ids")
        if self.by_time:
            timeless = ", or give eval_args the order RO, for models that need none"
            if self.temporal is not None:
                timeless = ", or take another protocol: without times there is nothing to cut"
            file.require(self.time, "TIME_FIELD", "which the rows are ordered by", "float", timeless)
        histories = history_column(self.keys) or ""
        if histories in file.table.types:
            file.table.require(histories, "which holds the histories", ("token_seq",))
        tell_apart = () if self.splits is None else (self.time, histories)
        frame = file.read([self.user, self.item], tell_apart)
        self._say_missing(file, frame)
        if self.splits is not None:
            self._check_given_times(file, frame)
        if self.by_time:
            self._check_times(file.table, frame)
        elif self.splits is None:
            self._say_repeated(file.table, int(frame.duplicated([self.user, self.item]).sum()), "user and item")
        return frame

    # -- times ------------------------------------------------------------------------------------------------------

    def _check_given_times(self, file: Loaded, frame: pd.DataFrame) -> None:
        """That plain rows have the times by which they become histories, if any."""
        if self.time in file.numbers:
            self._require_times(file.table, frame[self.time].to_numpy())
        elif model_kind(self.keys) == "SEQUENTIAL" and history_column(self.keys) not in file.types:
            self._say(f"{file.table.path.name}: no {self.time!r} is loaded; a user's rows are in the order of the file")

    def _require_times(self, table: Table, times: np.ndarray) -> None:
        wrong = ~np.isfinite(times)
        if wrong.any():
            raise SourceDataError(
                f"{table.path}, line {table.line_of(int(wrong.argmax()))}: no time in {self.time!r}, and the rows are "
                "ordered by it. Give one, or take the row out."
            )

    def _check_times(self, table: Table, frame: pd.DataFrame) -> None:
        times = frame[self.time].to_numpy()
        self._require_times(table, times)
        users = frame[self.user].cat.codes.to_numpy()
        order = np.lexsort((times, users))
        kept = times
        if self.keys["normalize_all"] is True or self.time in (self.keys["normalize_field"] or ()):
            kept = (times - times.min()) / max(float(np.ptp(times)), 1.0)
        if reordered := users_that_single_precision_reorders(users, times, kept.astype(np.float32), order):
            exact = self.keys.get(EXACT_TIME_ORDER, True)
            self._say(
                f"{table.path.name}: in single precision, as RecBole keeps times, rows of {reordered:,} of "
                f"{users.max() + 1:,} users would be out of order; they are in the order of "
                + ("the exact time" if exact else f"the file ({EXACT_TIME_ORDER} is off)")
            )
        users, times = users[order], times[order]
        self._check_cut(table, users, times)
        ties_with_next = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
        is_last = np.append(users[1:] != users[:-1], True)
        if tied := int((ties_with_next & is_last[1:]).sum()):
            self._say(
                f"{table.path.name}: {tied:,} users have several rows at their last time; the file's order says which "
                "is last"
            )
        ties = order[np.append(ties_with_next, False) | np.append(False, ties_with_next)]
        repeated = int(frame.iloc[ties].duplicated([self.user, self.item, self.time]).sum())
        self._say_repeated(table, repeated, "user, item and time")

    def _check_cut(self, table: Table, users: np.ndarray, times: np.ndarray) -> None:
        """That times are more than places in a user's history where all users are cut at one time."""
        args = self.keys.get("eval_args") or {}
        split, group = args.get("split") or {}, str(args.get("group_by")).lower()
        if not {"TS", TEMPORAL} & set(split) and not ("RS" in split and group == "none"):
            return
        if are_places(users, times):
            raise ConfigurationError(
                f"eval_args: {table.path} holds no times but each row's place in its user's history, so that one cut "
                "in time over all users means nothing. Leave one out instead."
            )

    def _say_cut(self, temporal: Temporal) -> None:
        """What the protocol ``temporal`` makes of the dataset."""
        self._say(*counted(self.dataset).in_sentences(temporal))
        if any(self.keys[key] not in (None, "[0,inf)") for key in NUMBER_INTERVALS):
            self._say(
                f"temporal: {' and '.join(NUMBER_INTERVALS)} count training interactions alone, and remove users and "
                "items by them"
            )

    def _say_repeated(self, table: Table, rows: int, what: str) -> None:
        if rows:
            fate = "kept" if self.keys["rm_dup_inter"] is None else "left to rm_dup_inter"
            words = "row repeats an earlier one" if rows == 1 else "rows repeat an earlier one"
            self._say(f"{table.path.name}: {rows:,} {words} ({what}), {fate}")

    # -- other files ------------------------------------------------------------------------------------------------

    def _others(self, suffix: str) -> pd.DataFrame | None:
        path = self.dataset.folder / f"{self.name}.{suffix}"
        if not path.is_file():
            if suffix in ("user", "item"):
                return None
            raise SourceDataError(f"{path}: no such file, and RecBole reads it under these keys. Put it there.")
        ids = {
            "user": ["USER_ID_FIELD"],
            "item": ["ITEM_ID_FIELD"],
            "kg": ["HEAD_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "TAIL_ENTITY_ID_FIELD"],
            "link": ["ITEM_ID_FIELD", "ENTITY_ID_FIELD"],
        }.get(suffix, [])
        file = self._open(suffix)
        for key in ids:
            file.require(self.keys[key], key, "which holds ids")
        frame = file.read([self.keys[key] for key in ids])
        self._say_missing(file, frame)
        repeated = int(frame[self.keys[ids[0]]].duplicated().sum()) if suffix in ("user", "item") else 0
        if repeated:
            self._say(f"{path.name}: {repeated:,} rows repeat an id that has a row already; the first is used")
        return frame

    # -- files and keys together ------------------------------------------------------------------------------------

    def _check_fields_of_keys(self) -> None:
        for key in _NAMING_FIELDS:
            value = self.keys[key] or ()
            named = [*value, *value.values()] if key == "preload_weight" and isinstance(value, dict) else value
            for name in [named] if isinstance(named, str) else named:
                if not isinstance(name, str):
                    raise ConfigurationError(f"{key}: names of fields are expected; got {name!r}.")
                if name not in self.types:
                    raise ConfigurationError(
                        f"{key}: no field {name!r} is loaded; there are {', '.join(sorted(self.types))}. Name one of "
                        "them, or load it by load_col."
                    )
        for name, interval in (self.keys["val_interval"] or {}).items():
            if self.types[name].startswith("float"):
                check_interval(f"val_interval of {name}", interval)
            elif not isinstance(interval, list):
                raise ConfigurationError(f"val_interval of {name}: a list of tokens is expected; got {interval!r}.")
        if self.temporal is not None:
            self._check_nothing_is_fitted()

    def _check_nothing_is_fitted(self) -> None:
        """That no row's numbers depend on later rows. (That of times their order is kept is all that counts.)"""
        numbers = [name for name, kind in self.types.items() if kind.startswith("float")]
        if self.time not in (self.keys["numerical_features"] or ()):
            numbers.remove(self.time)
        fitted = {
            "normalize_all": numbers if self.keys["normalize_all"] is True else (),
            "normalize_field": self.keys["normalize_field"] or (),
            "discretization": self.keys["discretization"] or (),
        }
        for key, names in fitted.items():
            if names:
                raise ConfigurationError(
                    f"{key}: {WHERE} keeps later rows from training, and RecBole fits this to all rows, of "
                    f"{', '.join(names)}. Set it to null, and write the numbers into the file as they are to be read."
                )

    def _compare(self, interactions: dict[str, pd.DataFrame], table: pd.DataFrame, field: str, suffix: str) -> None:
        """Rows whose id the other table does not list."""
        listed = set(table[field].cat.categories)
        lacking = shared = 0
        for frame in interactions.values():
            known = frame[field].cat.categories.isin(listed)
            shared += int(known.sum())
            lacking += int((~known)[frame[field].cat.codes].sum())
        if not shared:
            raise SourceDataError(
                f"{self.dataset.folder}: {self.name}.{suffix} and the interactions have no {field!r} in common. "
                "They are of different datasets, or their ids are written differently."
            )
        if lacking and suffix != "link":
            filters = self.keys["filter_inter_by_user_or_item"] is True and self.splits is None
            fate = "leaves them out (filter_inter_by_user_or_item)" if filters else "takes no features for them"
            self._say(f"{self.name}.{suffix}: lists no {field!r} of {lacking:,} interactions; RecBole {fate}")

    # -- text and counts --------------------------------------------------------------------------------------------

    def _check_text(self, interactions: dict[str, pd.DataFrame], read: pd.DataFrame | None) -> None:
        """That ``.item`` has the fields of the text's template, and rows for the items of the interactions.

        Args:
            read: the file, where it is loaded.
        """
        if not self.dataset.item_file.is_file():
            self.dataset.item_fields()
        table = Table.of(self.dataset.item_file, self.keys)
        table.require(self.item, "which holds the items' ids", way_out="Set ITEM_ID_FIELD to the column that holds it.")
        for name in fields_of(self.dataset.keys.get("item_text") or ()):
            table.require(name, "which item_text names")
        frame = Loaded(table, {}, self.keys["seq_separator"]).read([self.item]) if read is None else read
        described = set(frame[self.item].cat.categories)
        items = set(_distinct(interactions, self.item))
        if not items & described:
            raise SourceDataError(
                f"{table.path} describes none of the items of the interactions. It is of another dataset, or its ids "
                "are written differently."
            )
        if without := len(items - described):
            self._say(f"{table.path.name}: {without:,} of {len(items):,} items have no row there, and so no text")

    def _count(self, interactions: dict[str, pd.DataFrame], tables: dict[str, pd.DataFrame]) -> None:
        """What RecBole's filters leave, and whether that is what the config expects."""
        users, items = (len(_distinct(interactions, field)) for field in (self.user, self.item))
        before = after = Size(users, items, sum(map(len, interactions.values())))
        filters = self._filters(tables) if self.splits is None else []
        if filters or tables or self.splits is not None or any(self.keys[key] for key in _NAMING_FIELDS):
            after = counted_by_recbole(self.name, self.dataset.folder, self.keys)
        if filters and after != before:
            self._say(
                f"of {before.users:,} users, {before.items:,} items and {before.interactions:,} interactions RecBole's "
                f"filters ({', '.join(filters)}) leave {after.users:,}, {after.items:,} and {after.interactions:,}"
            )
        elif self.by_time:
            rows = np.bincount(interactions["inter"][self.user].cat.codes)
            if single := int((rows == 1).sum()):
                self._say(
                    f"{self.name}.inter: {single:,} users have a single row, and so no history to predict it from"
                )
        expectations = self.dataset.expected
        if history_column(self.keys) in self.types:
            expectations.pop("interactions", None)  # rows are samples here
        filtered = f" It was filtered by {', '.join(filters)}." if filters else ""
        for what, expected in expectations.items():
            if (found := getattr(after, what)) != expected:
                raise ConfigurationError(
                    f"{self.name}: {found:,} {what}, but its dataset config expects {expected:,}.{filtered} Get or "
                    "convert it again, or correct `expected` (and any filter) in the dataset config."
                )

    def _filters(self, tables: dict[str, pd.DataFrame]) -> list[str]:
        """The filters that these keys ask for, in words."""
        filters = [f"{key} {self.keys[key]}" for key in NUMBER_INTERVALS if self.keys[key] not in (None, "[0,inf)")]
        filters += [key for key in ("val_interval", "rm_dup_inter") if self.keys[key]]
        if self.keys["filter_inter_by_user_or_item"] is True and {"user", "item"} & set(tables):
            filters.append("filter_inter_by_user_or_item")
        if "link" in tables:
            filters.append(f"{self.name}.link")
        return filters

    def _say(self, *sentences: str) -> None:
        self.found += [f"{sentence}." for sentence in sentences]


def _distinct(interactions: dict[str, pd.DataFrame], field: str) -> pd.Index:
    """The ids in all files of interactions."""
    first, *others = (frame[field].cat.categories for frame in interactions.values())
    for categories in others:
        first = first.union(categories)
    return first
