"""Users' histories, as RecBole filters, orders and splits them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.data.files import history_column, splits_rows
from recbole_ext.data.stock import refusing, stock_dataset, stock_keys
from recbole_ext.data.temporal import Temporal
from recbole_ext.errors import ConfigurationError

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}


@dataclass(frozen=True, eq=False)
class Histories:
    """The items of each user, oldest first: kept as numbers, and read one user after the other as tokens.

    Attributes:
        numbers: each user's items, as places in ``tokens``.
        tokens: of all items, each once.
    """

    numbers: list[np.ndarray]
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, user: int) -> np.ndarray:
        return self.tokens[self.numbers[user]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.tokens.__getitem__, self.numbers)


def training_histories(name: str, folder: Path, settings: Mapping[str, Any]) -> Histories:
    """The items of each user's training split, oldest first; ``settings`` are RecBole's keys, complete.

    The split is that of their model: RecBole holds out rows of some kinds of models and samples of others, so that of
    two or three rows a sequential model trains on one that a general model is asked for.

    Raises:
        ConfigurationError: the split is drawn at random, so that every run of another seed has another one.
    """
    if settings["benchmark_filename"] is not None:
        return _of_given_split(name, folder, settings)
    order = (settings.get("eval_args") or LEAVE_ONE_OUT).get("order", "TO")
    if order != "TO":
        raise ConfigurationError(
            f"{name}: eval_args.order: {order} draws the training split with each run's seed, so there is no one split "
            "that vectors or an encoder could learn behaviour from. Split in time order (TO), or by files "
            "(benchmark_filename)."
        )
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole.data.dataset import Dataset

    from recbole_ext.data.sequences import SequenceViewDataset
    from recbole_ext.data.temporal_dataset import temporal

    of_rows = splits_rows(settings)
    kind = Dataset if of_rows else SequenceViewDataset
    if Temporal.of(settings.get("eval_args")) is not None:
        kind = temporal(kind)
    keys = stock_keys(name, folder, {"eval_args": LEAVE_ONE_OUT, **settings})
    with refusing(name):
        train = kind(keys).build()[0]
    return Histories(_of_rows(train) if of_rows else _of_samples(train), train.field2id_token[train.iid_field])


def _of_samples(train: Any) -> list[np.ndarray]:
    items = train.history[train.iid_field].numpy()
    return [items[begin : begin + length] for begin, length in zip(*train.training_histories(), strict=True)]


def _of_rows(train: Any) -> list[np.ndarray]:
    """Of rows in the order of time."""
    users, items = (train.inter_feat[field].numpy() for field in (train.uid_field, train.iid_field))
    order = np.argsort(users, kind="stable")
    begins = np.flatnonzero(np.diff(users[order])) + 1
    return np.split(items[order], begins)


def _of_given_split(name: str, folder: Path, settings: Mapping[str, Any]) -> Histories:
    """Of files that are split already: a user's longest sample of the first file, or all rows of the user there."""
    dataset = stock_dataset(name, folder, settings)
    user, item, time = dataset.uid_field, dataset.iid_field, dataset.time_field
    rows = dataset.inter_feat.iloc[: dataset.file_size_list[0]]
    history = history_column(settings)
    if history is not None and history in rows:
        longest = rows[history].map(len).groupby(rows[user]).idxmax()
        samples = rows.loc[longest]
        sequences = [np.append(*sample) for sample in zip(samples[history], samples[item], strict=True)]
    else:
        rows = rows.sort_values(time, kind="stable") if time in rows else rows
        sequences = [group.to_numpy() for _, group in rows.groupby(user)[item]]
    return Histories(sequences, dataset.field2id_token[item])
