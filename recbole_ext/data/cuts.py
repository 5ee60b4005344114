"""What the protocol ``temporal`` leaves of a dataset, and other datasets cut at its time; files are read once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.data.config import about_data
from recbole_ext.data.files import interaction_suffixes, reads_knowledge, stamp
from recbole_ext.data.stock import stock_dataset
from recbole_ext.data.tables import Table
from recbole_ext.data.temporal import Counted, Temporal, in_words
from recbole_ext.errors import ConfigurationError

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Dataset

_CUT: dict[str, tuple[Counted, list[str]]] = {}
_ARE_PLACES: dict[str, bool] = {}


def counted(dataset: Dataset) -> Counted:
    """Of a dataset whose keys ask for ``temporal``: read and cut as a run does.

    Raises:
        ConfigurationError: the cut leaves nothing to train on, to validate or to test; names the dataset.
    """
    return _cut(dataset)[0]


def trained_items(dataset: Dataset) -> list[str]:
    """The tokens of the items that training has, sorted, of a dataset whose keys ask for ``temporal``.

    Raises:
        ConfigurationError: as :func:`counted`.
    """
    return _cut(dataset)[1]


def _cut(dataset: Dataset) -> tuple[Counted, list[str]]:
    keys = dataset.effective_keys
    request = stamp(dataset.files(), about_data(keys), reads_knowledge(keys))
    if request not in _CUT:
        try:
            found = stock_dataset(dataset.name, dataset.folder, keys, cut=True)
        except ConfigurationError as error:
            named = str(error).startswith(dataset.name)
            raise ConfigurationError(str(error) if named else f"{dataset.name}: {error}") from error
        tokens = found.field2id_token[found.iid_field][1 : found.n_trained_items]
        _CUT[request] = found.counted, sorted(map(str, tokens))
    return _CUT[request]


def earlier_than(time: float, dataset: Dataset, why: str) -> Dataset:
    """The dataset without its interactions from an exact time on, by RecBole's ``val_interval``.

    Args:
        why: what cuts it there, for errors.

    Raises:
        ConfigurationError: it has no times that could be compared, is cut by a ``val_interval`` already, or its later
            interactions decide which earlier ones are there.
        SourceDataError: it can't be read.
    """
    field, keys = dataset.time_field, dataset.effective_keys
    if field in (keys.get("val_interval") or {}):
        raise ConfigurationError(
            f"{dataset.name}: val_interval of {field!r} stands in the way of {why}; leave one of the two out."
        )
    if keys["benchmark_filename"] is not None or times_are_places(dataset):
        raise ConfigurationError(
            f"{dataset.name} holds no times that compare with those of {why}, which cuts at time {in_words(time)}, so "
            "that it may hold what came later. Choose a source with time stamps."
        )
    if keys["rm_dup_inter"] == "last":
        raise ConfigurationError(
            f"{dataset.name}: rm_dup_inter: last takes rows out because of later ones, which {why} cuts off. Keep the "
            "first: rm_dup_inter: first."
        )
    interval = {**(keys.get("val_interval") or {}), field: f"[-inf,{time!r})"}
    return dataset.with_keys({"val_interval": interval})


def read_until(name: str, histories: Mapping[str, Any], target: Dataset) -> float | None:
    """The time before which everything is that :meth:`Dataset.histories_request` asks for in ``histories``; ``None``
    where nothing says so: nothing cut it, or a part of interactions that are not here any more.

    Args:
        name: the dataset's, which lies where ``target`` lies.
    """
    keys = histories["keys"]
    split = Temporal.of(keys.get("eval_args"))
    if split is None:
        field = keys.get("TIME_FIELD") or target.time_field
        return _end((keys.get("val_interval") or {}).get(field))
    if split.valid_time is not None:
        return split.valid_time
    read = replace(target if name == target.name else target.sibling(name), keys=dict(keys))
    cut = read.cut() if read.files() and read.fingerprint() == histories["files"] else None
    return cut.valid if cut else None


def _end(interval: str | None) -> float | None:
    """Where an interval of RecBole's ends, the later one of several; what ends at a time with it, ends just after."""
    if interval is None:
        return None
    ends = [part.strip() for part in str(interval).split(";")]
    times = [(float(part[1:-1].split(",")[1]), part[-1]) for part in ends]
    return max(time if bracket == ")" else math.nextafter(time, math.inf) for time, bracket in times)


def times_are_places(dataset: Dataset) -> bool:
    """Whether a dataset's times are no more than each row's place in its user's history, or not there at all."""
    dataset.require()
    keys, user, time = dataset.effective_keys, dataset.user_field, dataset.time_field
    path = dataset.folder / f"{dataset.name}.{interaction_suffixes(keys)[0]}"
    request = stamp([path], user, time)
    if request not in _ARE_PLACES:
        table = Table.of(path, keys)
        table.require(user, "which holds the users' ids", way_out="Set USER_ID_FIELD to the column.")
        _ARE_PLACES[request] = time not in table.types or _are_places_in(table, user, time)
    return _ARE_PLACES[request]


def _are_places_in(table: Table, user: str, time: str) -> bool:
    frame = table.read([user, time])
    users, times = frame[user].cat.codes.to_numpy(), frame[time].to_numpy()
    order = np.lexsort((times, users))
    return are_places(users[order], times[order])


def are_places(users: np.ndarray, times: np.ndarray) -> bool:
    """Whether times, ``[rows]`` in the order of users and times, say no more than each row's place among its user's."""
    first = np.maximum.accumulate(np.where(np.diff(users, prepend=-1) != 0, np.arange(len(users)), 0))
    in_steps = (times - times[first] == np.arange(len(users)) - first).all()
    return bool(in_steps and (times[first] == times[0]).all())
