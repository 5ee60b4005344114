"""A dataset's keys and files looked over before anything is computed, by the rules by which RecBole reads them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recbole_ext.compat import users_that_single_precision_reorders
from recbole_ext.data.config import EXACT_TIME_ORDER, NUMBER_INTERVALS, about_data, check_interval, check_keys
from recbole_ext.data.cuts import are_places, counted
from recbole_ext.data.files import (
    columns_left_out,
    columns_read,
    history_column,
    interaction_suffixes,
    model_kind,
    reads_knowledge,
    suffixes_read,
)
from recbole_ext.data.sizes import Size, counted_by_recbole
from recbole_ext.data.tables import Table
from recbole_ext.data.temporal import TEMPORAL, Counted, Temporal, in_words
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
    check_keys(dataset.effective_keys)
    dataset.require()
    request = _request(dataset, text)
    if request not in _SENTENCES:
        _SENTENCES[request] = _Check(dataset).sentences(text)
    return list(_SENTENCES[request])


def _request(dataset: Dataset, text: bool) -> str:
    """What the answer depends on: the runs of a benchmark ask the same over and over."""
    keys = dataset.effective_keys
    paths = [*dataset.files(), *([dataset.item_file] if dataset.item_file.is_file() else [])]
    stats = [(str(path.resolve()), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
    ours = (text, dataset.expected, dataset.keys.get("item_text"), model_kind(keys), reads_knowledge(keys))
    return json.dumps([dataset.name, stats, about_data(keys), ours], sort_keys=True, default=str)


class _Check:
    """One dataset's files, read once, in the order in which they can be judged."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.name, self.keys = dataset.name, dataset.effective_keys
        self.user, self.item, self.time = dataset.user_field, dataset.item_field, dataset.time_field
        order = (self.keys.get("eval_args") or {"order": "TO"}).get("order")
        self.splits = self.keys["benchmark_filename"]
        self.temporal = Temporal.of(self.keys.get("eval_args"))
        self.by_time = self.splits is None and (order == "TO" or model_kind(self.keys) == "SEQUENTIAL")
        self.found: list[str] = []
        self.loaded: dict[str, str] = {}  # field to type

    def sentences(self, text: bool) -> list[str]:
        interactions = {suffix: self._interactions(suffix) for suffix in interaction_suffixes(self.keys)}
        others = [suffix for suffix in suffixes_read(self.keys) if suffix not in interactions]
        tables = {suffix: table for suffix in others if (table := self._others(suffix)) is not None}
        self._check_fields_of_keys()
        self._check_splits(interactions)
        for field, suffix in ((self.user, "user"), (self.item, "item"), (self.item, "link")):
            if suffix in tables:
                self._compare(interactions, tables[suffix], field, suffix)
        if text:
            self._check_text(interactions)
        self._count(interactions, tables)
        if self.temporal is not None:
            self._say_cut(counted(self.dataset), self.temporal)
        return self.found

    # -- one file ---------------------------------------------------------------------------------------------------

    def _open(self, suffix: str) -> tuple[Table, list[str]]:
        """The file and the columns that are loaded of it."""
        source = suffix.rpartition(".")[2]
        table = Table.of(self.dataset.folder / f"{self.name}.{suffix}", self.keys)
        wanted, histories = columns_read(self.keys, source), history_column(self.keys)
        if wanted is None:
            loaded = [name for name in table.types if name not in columns_left_out(self.keys, source)]
        else:
            # RecBole passes over a column that is not there: it may make the label itself, and without an order in time
            # it does without times. Ids, and times that are needed, are asked for with better words.
            for name in sorted(wanted - {self.keys["LABEL_FIELD"], self.user, self.item, self.time, histories}):
                table.require(name, "which load_col names")
            loaded = [name for name in table.types if name in wanted or (source, name) == ("inter", histories)]
        self.loaded |= {name: table.types[name] for name in loaded}
        return table, loaded

    def _require(self, table: Table, loaded: list[str], column: str, key: str, role: str, kind: str = "token") -> None:
        timeless = ", or give eval_args the order RO, for models that need none" if key == "TIME_FIELD" else ""
        table.require(column, role, (kind,), f"Set {key} to the column that holds it{timeless}.")
        if column not in loaded:
            raise ConfigurationError(f"load_col or unload_col leaves out {column!r} of {table.path}, {role}. Load it.")

    def _read(self, table: Table, loaded: list[str], ids: Iterable[str]) -> pd.DataFrame:
        """The ids, and all numbers, of which it says how many are missing; every line has to be a row."""
        table.check_lines()
        numbers = [name for name in loaded if table.types[name] == "float"]
        vectors = [name for name in loaded if table.types[name] == "float_seq"]
        frame = table.read([*ids, *numbers, *vectors])
        for name in ids:
            missing = frame[name].isna().to_numpy()
            if missing.any():
                raise SourceDataError(
                    f"{table.path}, line {table.line_of(int(missing.argmax()))}: {name!r} is empty, and RecBole would "
                    "leave the row out. Give an id, or take the row out."
                )
            if "[PAD]" in frame[name].cat.categories:
                at = table.line_of(int((frame[name] == "[PAD]").to_numpy().argmax()))
                raise SourceDataError(f"{table.path}, line {at}: RecBole keeps '[PAD]' for itself. Give another id.")
        for name in vectors:
            self._check_vectors(table, frame[name])
        for name in numbers:
            without = int(frame[name].isna().sum())
            if without and not (name == self.time and (self.by_time or self.splits is not None)):
                self._say(f"{table.path.name}: {without:,} rows have no {name!r}; RecBole takes the mean for it")
        return frame

    def _check_vectors(self, table: Table, column: pd.Series) -> None:
        for value in column.cat.categories:
            try:
                [float(part) for part in value.split(self.keys["seq_separator"]) if part]
            except ValueError:
                line = table.line_of(int((column == value).to_numpy().argmax()))
                raise SourceDataError(
                    f"{table.path}, line {line}: {value[:40]!r} in column {column.name!r} is no sequence of numbers "
                    f"separated by {self.keys['seq_separator']!r}. Set seq_separator, or declare it token_seq."
                ) from None

    def _interactions(self, suffix: str) -> pd.DataFrame:
        table, loaded = self._open(suffix)
        self._require(table, loaded, self.user, "USER_ID_FIELD", "which holds the users' ids")
        self._require(table, loaded, self.item, "ITEM_ID_FIELD", "which holds the items' ids")
        if self.by_time:
            self._require(table, loaded, self.time, "TIME_FIELD", "which the rows are ordered by", "float")
        if (histories := history_column(self.keys)) in table.types:
            table.require(str(histories), "which holds the histories", ("token_seq",))
        frame = self._read(table, loaded, [self.user, self.item])
        if self.splits is not None:
            self._check_given_times(table, frame, loaded)
        if self.by_time:
            self._check_times(table, frame)
        elif self.splits is None:
            self._say_repeated(table, int(frame.duplicated([self.user, self.item]).sum()), "user and item")
        return frame

    def _check_given_times(self, table: Table, frame: pd.DataFrame, loaded: list[str]) -> None:
        """That plain rows have the times by which they become histories, if any."""
        if self.time in frame:
            self._require_times(table, frame[self.time].to_numpy())
        elif model_kind(self.keys) == "SEQUENTIAL" and history_column(self.keys) not in loaded:
            self._say(f"{table.path.name}: no {self.time!r} is loaded; a user's rows are in the order of the file")

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

    def _say_cut(self, found: Counted, temporal: Temporal) -> None:
        """What the protocol ``temporal`` makes of the dataset."""
        trains, validates, tests = found.interactions
        self._say(
            f"temporal: {trains:,} interactions before time {in_words(found.cut.valid)} train, {validates:,} before "
            f"{in_words(found.cut.test)} validate, {tests:,} test; {found.users[0]:,} users are validated and "
            f"{found.users[1]:,} tested on their {temporal.target} item there"
        )
        if found.without_history:
            self._say(
                f"temporal: {found.without_history:,} users of the test period have nothing before their only "
                "interaction there and are not asked"
            )
        if found.new_items:
            fate = f"ranked with the others, and {found.new_targets:,} users are asked for one"
            if temporal.new_items == "leave_out":
                fate = f"left out with their {found.left_out:,} interactions"
            self._say(f"temporal: {found.new_items:,} items are first seen after the first cut; they are {fate}")
        if any(self.keys[key] not in (None, "[0,inf)") for key in NUMBER_INTERVALS):
            self._say(
                f"temporal: {' and '.join(NUMBER_INTERVALS)} count training interactions alone, and remove users and "
                "items by them"
            )

    def _say_repeated(self, table: Table, rows: int, what: str) -> None:
        if rows:
            fate = "kept" if self.keys["rm_dup_inter"] is None else "left to rm_dup_inter"
            self._say(f"{table.path.name}: {rows:,} rows repeat an earlier one ({what}); they are {fate}")

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
        table, loaded = self._open(suffix)
        for key in ids:
            self._require(table, loaded, self.keys[key], key, "which holds ids")
        frame = self._read(table, loaded, [self.keys[key] for key in ids])
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
                if name not in self.loaded:
                    raise ConfigurationError(
                        f"{key}: no field {name!r} is loaded; there are {', '.join(sorted(self.loaded))}. Name one of "
                        "them, or load it by load_col."
                    )
        for name, interval in (self.keys["val_interval"] or {}).items():
            if self.loaded[name].startswith("float"):
                check_interval(f"val_interval of {name}", interval)
            elif not isinstance(interval, list):
                raise ConfigurationError(f"val_interval of {name}: a list of tokens is expected; got {interval!r}.")

    def _check_splits(self, interactions: dict[str, pd.DataFrame]) -> None:
        (first, train), *others = interactions.items()
        for suffix, frame in others:
            fields = (self.user, self.item)
            if not any(train[field].cat.categories.isin(frame[field].cat.categories).any() for field in fields):
                raise SourceDataError(
                    f"{self.dataset.folder}: {self.name}.{first} and {self.name}.{suffix} share no user and no item. "
                    "They are of different datasets, or their ids are written differently."
                )
        rows = {suffix: self._given_rows(suffix) for suffix in interactions}
        for one, other in itertools.combinations(rows, 2):
            self._refuse_shared_rows(one, rows[one], other, rows[other])
        known = self._items_of(rows[first])
        for suffix, _ in others:
            unknown = self._items_of(rows[suffix]) - known
            if nowhere := sorted(unknown - self._described_items()) if unknown else ():
                raise SourceDataError(
                    f"{self.dataset.folder / self.name}.{suffix} names {len(nowhere):,} items that neither "
                    f"{self.name}.{first} nor {self.name}.item has, such as {', '.join(nowhere[:5])}. Correct their "
                    "ids, take the rows out, or describe the items there."
                )
            if unknown:
                self._say(
                    f"{self.name}.{suffix}: {len(unknown):,} of its items are not in {self.name}.{first}, but in "
                    f"{self.name}.item"
                )

    def _given_rows(self, suffix: str) -> pd.DataFrame:
        """What tells rows of files that are split already apart: user, item, and time and history where there are."""
        table, _ = self._open(suffix)
        columns = [self.user, self.item, self.time, history_column(self.keys)]
        return table.read([column for column in columns if column in table.types])

    def _refuse_shared_rows(self, one: str, rows: pd.DataFrame, other: str, others: pd.DataFrame) -> None:
        columns = [column for column in rows if column in others]
        if (
            history_column(self.keys) not in columns
        ):  # of one file alone: what its histories hold is repeated, not shared
            rows, others = self._without_repeats(rows), self._without_repeats(others)
        text = [frame[columns].astype(str).drop_duplicates() for frame in (rows, others)]
        shared = text[0].merge(text[1], on=columns)
        if len(shared):
            row = ", ".join(f"{column} {shared[column].iloc[0]}" for column in columns)
            timeless = "" if self.time in columns else " If users repeat items, give the rows their times."
            raise SourceDataError(
                f"{self.dataset.folder}: {self.name}.{one} and {self.name}.{other} share {len(shared):,} rows, such as "
                f"{row}. What is to be found can't be learned from as well: take them out of one.{timeless}"
            )

    def _without_repeats(self, rows: pd.DataFrame) -> pd.DataFrame:
        histories = history_column(self.keys)
        if histories not in rows:
            return rows
        separator = self.keys["seq_separator"]
        pairs = zip(rows[self.item].astype(str), rows[histories].astype(str), strict=True)
        return rows[[item not in history.split(separator) for item, history in pairs]]

    def _items_of(self, rows: pd.DataFrame) -> set[str]:
        """The items of the rows and of their histories."""
        found = set(rows[self.item].cat.categories)
        histories = history_column(self.keys)
        if histories in rows:
            for history in rows[histories].cat.categories:
                found.update(filter(None, history.split(self.keys["seq_separator"])))
        return found

    def _described_items(self) -> set[str]:
        """The items of the ``.item`` file, loaded or not; none where there is no file."""
        if not self.dataset.item_file.is_file():
            return set()
        table = Table.of(self.dataset.item_file, self.keys)
        return set(table.read([self.item])[self.item].cat.categories) if self.item in table.types else set()

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

    def _check_text(self, interactions: dict[str, pd.DataFrame]) -> None:
        """That ``.item`` has the fields of the text's template, and rows for the items of the interactions."""
        if not self.dataset.item_file.is_file():
            self.dataset.item_fields()
        table = Table.of(self.dataset.item_file, self.keys)
        table.require(self.item, "which holds the items' ids", way_out="Set ITEM_ID_FIELD to the column that holds it.")
        for name in fields_of(self.dataset.keys.get("item_text") or ()):
            table.require(name, "which item_text names")
        described = set(self._read(table, [], [self.item])[self.item].cat.categories)
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
        if history_column(self.keys) in self.loaded:
            expectations.pop("interactions", None)  # rows are samples here
        for what, expected in expectations.items():
            if (found := getattr(after, what)) != expected:
                raise ConfigurationError(
                    f"{self.name}: {found:,} {what}, but its dataset config expects {expected:,}. Get or convert it "
                    "again, or correct `expected` (and any filter) in the dataset config."
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

    def _say(self, sentence: str) -> None:
        self.found.append(f"{sentence}.")


def _distinct(interactions: dict[str, pd.DataFrame], field: str) -> pd.Index:
    """The ids in all files of interactions."""
    first, *others = (frame[field].cat.categories for frame in interactions.values())
    for categories in others:
        first = first.union(categories)
    return first
