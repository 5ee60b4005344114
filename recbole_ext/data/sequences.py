"""RecBole's sequential dataset with its prefix samples as views: linear memory, padded only when read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction

from recbole_ext.data.temporal import TRAIN


class SequenceViewDataset(SequentialDataset):
    """The samples of :class:`recbole.data.dataset.SequentialDataset`, without the copies.

    RecBole makes one sample per prefix and stores it padded: for every field a ``[samples, maximum length]``
    tensor. Here a sample is two numbers (where its history starts in the sorted interactions, and how long it
    is), and ``dataset[index]`` gathers the padded lists on demand. With ``trim_padding`` off the gathered
    interaction equals RecBole's, field by field.

    Attributes:
        history: all interactions sorted by user and time, as flat fields ``[interactions, ...]``.
        user_start: for each interaction of ``history``, where its user's begin, ``[interactions]``.
        trim_padding: pad to the longest history of the request rather than to ``MAX_ITEM_LIST_LENGTH``.
        holds_training: this is the training split of data that are cut in time or split already.
    """

    HISTORY_START = "history_start"
    inter_feat: Interaction
    holds_training: bool = False

    def __init__(self, config: Any) -> None:
        self.trim_padding = False
        super().__init__(config)

    def data_augmentation(self) -> None:
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self._sort_by_user()
        self.history: Interaction = self.inter_feat
        users = self.history[self.uid_field].numpy()
        is_first = np.ones(len(users), dtype=bool)
        is_first[1:] = users[1:] != users[:-1]
        user_start = np.maximum.accumulate(np.where(is_first, np.arange(len(users)), 0))
        self.user_start = user_start
        target = np.flatnonzero(~is_first)
        start = np.maximum(user_start[target], target - self.max_item_list_len)
        targets = torch.from_numpy(target)
        samples = select(self.history, targets)
        samples[self.item_list_length_field] = torch.from_numpy(target - start)
        samples[self.HISTORY_START] = torch.from_numpy(start)
        self.inter_feat = SampleViews(samples, self)

    def _sort_by_user(self) -> None:
        self.sort(by=[self.uid_field, self.time_field], ascending=True)

    def copy(self, new_inter_feat: Interaction) -> SequenceViewDataset:
        copied = super().copy(new_inter_feat)
        copied.inter_feat = SampleViews(new_inter_feat, copied)
        return copied

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        samples = self.inter_feat[index]
        start = torch.as_tensor(samples[self.HISTORY_START])
        length = torch.as_tensor(samples[self.item_list_length_field])
        samples = Interaction({field: samples[field] for field in samples.columns if field != self.HISTORY_START})
        samples.update(Interaction(self.padded_histories(start, length, self.trim_padding)))
        return self.join(samples) if join else samples

    def padded_histories(
        self, start: torch.Tensor, length: torch.Tensor, trim: bool = False
    ) -> dict[str, torch.Tensor]:
        """Every list field of the samples, ``[samples, width, ...]``, right-padded with zeros.

        The width is ``MAX_ITEM_LIST_LENGTH``, or the longest history's where ``trim`` is set.
        """
        width = max(int(length.max()), 1) if trim and length.numel() else self.max_item_list_len
        offset = torch.arange(width)
        inside = offset < length.unsqueeze(-1)
        position = torch.where(inside, start.unsqueeze(-1) + offset, 0)
        return {
            getattr(self, f"{field}_list_field"): self._gather(self.history[field], position, inside)
            for field in self.history.columns
            if field != self.uid_field
        }

    @staticmethod
    def _gather(values: torch.Tensor, position: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        gathered = values[position]
        return gathered * inside.view(*inside.shape, *[1] * (gathered.dim() - 2)).to(gathered.dtype)

    def leave_one_out(self, group_by: str, leave_one_mode: str) -> list[SequenceViewDataset]:
        """RecBole's split in RecBole's order, without its Python lists of every index."""
        held_out = {"valid_and_test": 2, "valid_only": 1, "test_only": 1}
        if group_by != self.uid_field or leave_one_mode not in held_out:
            return super().leave_one_out(group_by, leave_one_mode)
        order, size = self._by_user()
        last = size.cumsum() - 1
        # The first sample of a user always trains.
        held = [(last - back)[size > back + 1] for back in reversed(range(held_out[leave_one_mode]))]
        trains = np.ones(len(order), dtype=bool)
        for position in held:
            trains[position] = False
        parts = [order[trains], *(order[position] for position in held)]
        if leave_one_mode == "valid_only":
            parts.append(parts[0][:0])
        elif leave_one_mode == "test_only":
            parts.insert(1, parts[0][:0])
        self._drop_unused_col()
        return [self.copy(select(self.inter_feat, torch.from_numpy(index))) for index in parts]

    def _by_user(self) -> tuple[np.ndarray, np.ndarray]:
        """The order that puts each user's samples together, users as they first appear, and how many each has.

        Counting instead of sorting ids, in 32 bits where it can be: at ten million samples every array counts.
        """
        users = self.inter_feat[self.uid_field].numpy()
        size = np.bincount(users)
        first = np.full(len(size), len(users), dtype=np.int32)
        first[users[::-1]] = np.arange(len(users) - 1, -1, -1, dtype=np.int32)
        appearing = np.argsort(first, kind="stable")[: np.count_nonzero(size)]
        rank = np.empty(len(size), dtype=np.int32)
        rank[appearing] = np.arange(len(appearing), dtype=np.int32)
        return np.argsort(rank[users], kind="stable"), size[appearing]

    def sort_by_length(self) -> None:
        """Put the samples in the order of their histories' length, so that batches in order hold little padding."""
        order = torch.argsort(self.inter_feat[self.item_list_length_field], stable=True)
        self.inter_feat = SampleViews(select(self.inter_feat, order), self)

    def items_before(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """All items that the users of these samples had before the target, however long ago.

        Returns:
            For each item, which of the samples it belongs to, and its id: ``[items before]`` each.
        """
        samples = self.inter_feat[index]
        target = (samples[self.HISTORY_START] + samples[self.item_list_length_field]).numpy()
        begin = self.user_start[target]
        rows = np.repeat(np.arange(len(target)), target - begin)
        before = np.arange(len(rows)) - np.repeat((target - begin).cumsum() - target, target - begin)
        return torch.from_numpy(rows), self.history[self.iid_field][torch.from_numpy(before)]

    def training_histories(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in ``history`` each user's items of this training split begin, and how many they are: ``[users]`` each.

        Users whose every sample is held out have none.
        """
        target = (self.inter_feat[self.HISTORY_START] + self.inter_feat[self.item_list_length_field]).numpy()
        begin, n_samples = np.unique(self.user_start[target], return_counts=True)
        return begin, n_samples + 1

    def interactions(self) -> Interaction:
        """What users did in this split, field by field: its targets, and the item each user began with.

        Where data are cut in time or split already, training is all rows of it: a user who has a single one there began
        with it, and no sample says so.
        """
        if self.holds_training:
            return select(self.history, torch.from_numpy(training_rows(self)))
        begins = self.inter_feat[self.item_list_length_field] == 1
        firsts = self.history[self.inter_feat[self.HISTORY_START][begins]]
        return Interaction(
            {field: torch.cat([self.inter_feat[field], firsts[field]]) for field in self.history.columns}
        )

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """User–item matrix of this split's :meth:`interactions`, as in RecBole."""
        return self._create_sparse_matrix(self.interactions(), self.uid_field, self.iid_field, form, value_field)


class SampleViews(Interaction):
    """The samples of a split, which also answers for the padded lists that it does not hold.

    Some models read all of them at once (FEARec looks for other users with the same target, sample by sample); they
    get what RecBole would have kept, made when it is first asked for.
    """

    def __init__(self, samples: Interaction, dataset: SequenceViewDataset) -> None:
        super().__init__(samples.interaction)
        self._dataset = dataset
        self._padded: dict[str, torch.Tensor] = {}

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str) and index not in self.interaction:
            if index not in self._padded:
                start, length = self[self._dataset.HISTORY_START], self[self._dataset.item_list_length_field]
                self._padded[index] = self._dataset.padded_histories(start, length)[index]
            return self._padded[index]
        return super().__getitem__(index)


def training_rows(train: Any) -> np.ndarray:
    """Where in its history the rows of this training split are, ``[interactions]``: also those that are no sample's
    target, since training reads them.

    Data that are cut in time, or split already, say it of every row, whether its user has a sample in training or not.
    """
    timeline = getattr(train, "timeline", None)
    if timeline is not None:
        return np.flatnonzero(timeline.period[timeline.by_user] == TRAIN)
    begin, length = (train.inter_feat[field].numpy() for field in (train.HISTORY_START, train.item_list_length_field))
    # A list that MAX_ITEM_LIST_LENGTH cuts to one item is as short as that of a user's first sample.
    is_first = (length == 1) & (begin == train.user_start[begin])
    return np.concatenate([begin + length, begin[is_first]])


def select(interaction: Interaction, index: torch.Tensor) -> Interaction:
    """Rows of an interaction, without the list of Python integers that ``interaction[index]`` makes."""
    return Interaction({field: interaction[field][index] for field in interaction.columns})
