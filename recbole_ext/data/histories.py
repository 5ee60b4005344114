"""Users' histories, as RecBole filters, orders and splits them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.data.stock import refusing, stock_dataset, stock_keys

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}


def training_histories(name: str, folder: Path, settings: Mapping[str, Any]) -> list[np.ndarray]:
    """The items of each user's training split as tokens, oldest first; ``settings`` are RecBole's keys, complete."""
    if settings["benchmark_filename"] is not None:
        return _of_given_split(name, folder, settings)
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.data.sequences import SequenceViewDataset

    keys = stock_keys(name, folder, {"eval_args": LEAVE_ONE_OUT, **settings})
    with refusing(name):
        train = SequenceViewDataset(keys).build()[0]
    places, begins = train.training_places()
    items = train.id2token(train.iid_field, train.history[train.iid_field].numpy()[places])
    return np.split(items, begins[1:]) if len(begins) else []


def _of_given_split(name: str, folder: Path, settings: Mapping[str, Any]) -> list[np.ndarray]:
    """Of files that are split already: a user's longest sample of the first file, or all rows of the user there."""
    dataset = stock_dataset(name, folder, settings)
    user, item, time = dataset.uid_field, dataset.iid_field, dataset.time_field
    rows = dataset.inter_feat.iloc[: dataset.file_size_list[0]]
    history = f"{item}{settings['LIST_SUFFIX']}"
    if history in rows:
        longest = rows[history].map(len).groupby(rows[user]).idxmax()
        samples = rows.loc[longest]
        sequences = [np.append(*sample) for sample in zip(samples[history], samples[item], strict=True)]
    else:
        rows = rows.sort_values(time, kind="stable") if time in rows else rows
        sequences = [group.to_numpy() for _, group in rows.groupby(user)[item]]
    return [dataset.id2token(item, sequence) for sequence in sequences]
