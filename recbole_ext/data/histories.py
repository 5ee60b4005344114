"""Users' histories, as RecBole filters, orders and splits them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.data.config import recbole_keys_of_datasets

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}


def training_histories(name: str, data_path: Path, keys: Mapping[str, Any]) -> list[np.ndarray]:
    """The items of each user's training split as tokens, oldest first; ``keys`` are RecBole's."""
    from recbole_ext.compat import make_recbole_work, without_command_line

    make_recbole_work()
    from recbole.config import Config

    from recbole_ext.data.sequences import SequenceViewDataset

    told = {key: value for key, value in keys.items() if key in recbole_keys_of_datasets() | {"exact_time_order"}}
    told = {
        "eval_args": LEAVE_ONE_OUT,
        **told,
        "data_path": str(data_path.expanduser()),
        "train_neg_sample_args": None,
        "repeatable": True,
        "metrics": ["NDCG"],
        "valid_metric": "NDCG@10",
    }
    with without_command_line():
        config = Config(model="SASRec", dataset=name, config_dict=told)
    train = SequenceViewDataset(config).build()[0]
    items = train.history[train.iid_field].numpy()
    return [
        train.id2token(train.iid_field, items[begin : begin + length])
        for begin, length in zip(*train.training_histories(), strict=True)
    ]
