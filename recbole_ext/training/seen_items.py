"""What users have had is not ranked, where the protocol says so; but whoever returns to such an item chooses from all.

Were all that a user has had left out but the one item to be found, the answer would give itself away: a model that
ranks a user's earlier items first would be right by the mask alone. So nothing is left out there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.utils import ModelType

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.data.temporal_dataset import TemporalSplit


class UnseenItemsLoader(FullSortEvalDataLoader):
    """Full ranking for a sequential model, without the items that the user had seen before the one to find; if that is
    one of them, with all.

    All that came before it counts, however long ago; of a dataset that has no more than the lists that the model reads
    (pre-split files; DIEN, GRU4RecKG, KSR), those lists.
    """

    def collate_fn(self, index: Any) -> tuple[Any, Any, Any, Any]:
        interaction, _, positive_u, positive_i = super().collate_fn(index)
        if isinstance(self._dataset, SequenceViewDataset):
            rows, items = self._dataset.items_before(np.asarray(index))
        else:
            lists = interaction[self.iid_field + self.config["LIST_SUFFIX"]]
            rows, columns = lists.nonzero(as_tuple=True)
            items = lists[rows, columns]
        returns = torch.zeros(len(positive_i), dtype=torch.bool)
        returns[rows[items == positive_i[rows]]] = True
        masked = ~returns[rows]
        return interaction, (rows[masked], items[masked]), positive_u, positive_i


def targets_of(dataset: Any, splits: list[Any], period: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items to be found in a split: user, item, and whether the user had had it before, ``[targets]`` each.

    A general model finds an item once, however often the split has it.
    """
    split = splits[period]
    if isinstance(dataset, TemporalSplit):
        timeline = dataset.timeline
        rows = timeline.targets(period, dataset.temporal.target)
        return timeline.users[rows], timeline.items[rows], _returns(timeline.users, timeline.items)[rows]
    users, items = _users_and_items(split)
    if isinstance(split, SequenceViewDataset):
        rows = np.asarray(split.inter_feat[split.HISTORY_START] + split.inter_feat[split.item_list_length_field])
        return users, items, _returns(split.history[split.uid_field], split.history[split.iid_field])[rows]
    if split.config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        lists = np.asarray(split.inter_feat[split.iid_field + split.config["LIST_SUFFIX"]])
        return users, items, (lists == items[:, None]).any(axis=1)
    users, items = np.unique(np.stack([users, items]), axis=1)
    before = [_users_and_items(earlier) for earlier in splits[:period]]
    rows = np.concatenate([*before, (users, items)], axis=1)
    return users, items, _returns(*rows)[rows.shape[1] - len(users) :]


def _users_and_items(split: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(split.inter_feat[split.uid_field]), np.asarray(split.inter_feat[split.iid_field])


def _returns(users: Any, items: Any) -> np.ndarray:
    """Whether an earlier row has the same user and item, bool ``[rows]``."""
    return pd.DataFrame({"user": np.asarray(users), "item": np.asarray(items)}).duplicated().to_numpy()


def let_choose_from_all(sampler: Any, users: np.ndarray, items: np.ndarray, returns: np.ndarray) -> None:
    """Let RecBole's sampler of a split, by which general models mask too, know of users who return to an item no more
    than what they are to find there.

    Args:
        users, items, returns: see :func:`targets_of`.
    """
    sampler.used_ids = sampler.used_ids.copy()
    for user in np.unique(users[returns]):
        sampler.used_ids[user] = set()
    theirs = np.isin(users, users[returns])
    for user, item in zip(users[theirs], items[theirs], strict=True):
        sampler.used_ids[user].add(item)
