"""One row per user: every training target of a user predicted in one forward pass.

RecBole trains a sequential model on one sample per prefix. With causal attention (or a recurrent network) and
right padding, the output at position ``t`` of a sequence *is* the output of its prefix of length ``t + 1``, so
all prefixes that begin at the same item share one forward pass. Where a history is longer than
``MAX_ITEM_LIST_LENGTH``, RecBole's window slides by one item per target; such a window begins at an item of its
own and is a row with one target. Grouping the samples by the start of their window therefore gives exactly
RecBole's objective for histories of any length.

``window_stride`` trades that exactness for speed on long histories: windows then begin only at every
``window_stride``-th item, and a target sees between ``MAX_ITEM_LIST_LENGTH - window_stride + 1`` and
``MAX_ITEM_LIST_LENGTH`` items instead of always the maximum. The default, 1, is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_ext.capacity import positions_at_once
from recbole_ext.data.sequences import SequenceViewDataset

TARGET_ROW = "target_row"
TARGET_POSITION = "target_position"
TARGET_SLOT = "target_slot"
READ_POSITIONS = "read_positions"

BATCHES_PER_POOL = 8
# Positions of one forward pass: activations of this many stay in a processor's cache, and memory stays bounded
# whatever the batch size. The gradients of a batch's parts add up to the batch's. An accelerator's memory sets its own
# number; see :func:`recbole_ext.capacity.positions_at_once`.
POSITIONS_PER_PART = 16_384


class UserRows:
    """The samples of a split, grouped into rows by the start of their window.

    Attributes:
        start: first item of each row's window, as an index into ``dataset.history``, ``[rows]``.
        length: items that the row's longest prefix holds, ``[rows]``.
        first_target: where the row's targets begin in ``position`` and ``item_index``, ``[rows + 1]``.
        position: position in the row whose output predicts the target, ``[targets]``.
        item_index: the target, as an index into ``dataset.history``, ``[targets]``.
    """

    def __init__(self, dataset: SequenceViewDataset, window_stride: int = 1) -> None:
        start = dataset.inter_feat[dataset.HISTORY_START].numpy()
        length = dataset.inter_feat[dataset.item_list_length_field].numpy()
        if window_stride > 1:
            target = start + length
            begin = dataset.user_start[target]
            start = begin + -(-(start - begin) // window_stride) * window_stride
            length = target - start
        if not _in_order(start, length):
            order = np.lexsort((length, start))
            start, length = start[order], length[order]
        self.start, first = np.unique(start, return_index=True)
        self.first_target = np.append(first, len(start))
        self.length = length[self.first_target[1:] - 1]
        self.position = length - 1
        self.item_index = start + length

    def __len__(self) -> int:
        return len(self.start)

    @property
    def n_targets(self) -> int:
        return len(self.position)


def _in_order(start: np.ndarray, length: np.ndarray) -> bool:
    """Whether samples stand sorted by start, then length, as those of a split by user and time do."""
    same = start[1:] == start[:-1]
    return bool((same & (length[1:] >= length[:-1]) | (start[1:] > start[:-1])).all())


class UserRowLoader:
    """Batches of whole user rows; a drop-in for RecBole's ``TrainDataLoader``.

    ``train_batch_size`` counts targets, as in RecBole, so an epoch takes about as many steps on about as many
    targets each. Rows are shuffled, then sorted by length within pools of a few batches, so that a batch is
    padded to its own longest row only. Each epoch's order follows from ``seed`` alone.

    A batch is an ``Interaction`` with the padded rows (``item_id_list``: ``[rows, longest]``; ``item_length``:
    ``[rows]``) and, per target, its item (``item_id``), its negative (``neg_item_id``, where the model's loss
    asks for one), its row and its position in the row (``target_row``, ``target_position``): ``[targets]``; see also
    :func:`target_fields`.
    """

    def __init__(self, config: Any, dataset: SequenceViewDataset, sampler: Any) -> None:
        self.config, self._dataset, self._sampler = config, dataset, sampler
        self.dataset, self.shuffle = dataset, True
        self.rows = UserRows(dataset, int(config["window_stride"] or 1))
        self.batch_size = int(config["train_batch_size"])
        self.at_once = positions_at_once(config, POSITIONS_PER_PART)
        self.generator = np.random.default_rng(config["seed"])
        self.item_list = dataset.iid_field + config["LIST_SUFFIX"]
        negatives = config["train_neg_sample_args"]
        self.n_negatives = 0 if negatives["distribution"] == "none" else int(negatives["sample_num"])
        self.negative_item = config["NEG_PREFIX"] + dataset.iid_field

    def __len__(self) -> int:
        return max(1, round(self.rows.n_targets / self.batch_size))

    def __iter__(self) -> Iterator[list[Interaction]]:
        """The epoch's batches, each as the parts that go through the model one after the other."""
        rows = self.generator.permutation(len(self.rows))
        lengths, n_targets = self.rows.length[rows], np.diff(self.rows.first_target)[rows]
        for parts in batches_by_length(lengths, n_targets, self.batch_size, self.generator, self.at_once):
            yield [self.batch(rows[part]) for part in parts]

    def batch(self, rows: np.ndarray) -> Interaction:
        """The interaction of these rows, with all their targets."""
        table = self.rows
        n_targets = table.first_target[rows + 1] - table.first_target[rows]
        row, position = np.repeat(np.arange(len(rows)), n_targets), table.position
        within = np.arange(n_targets.sum()) - np.repeat(n_targets.cumsum() - n_targets, n_targets)
        target = table.first_target[rows][row] + within
        start, length = torch.from_numpy(table.start[rows]), torch.from_numpy(table.length[rows])
        offset = torch.arange(int(length.max()))
        inside = offset < length.unsqueeze(-1)
        items = self._dataset.history[self._dataset.iid_field]
        item_index = torch.from_numpy(table.item_index[target])
        fields = {
            self.item_list: items[torch.where(inside, start.unsqueeze(-1) + offset, 0)] * inside,
            self._dataset.item_list_length_field: length,
            self._dataset.iid_field: items[item_index],
            **target_fields(row, position[target], len(rows), len(offset)),
        }
        if self.n_negatives:
            users = self._dataset.history[self._dataset.uid_field][item_index]
            fields[self.negative_item] = self._sampler.sample_by_user_ids(
                users.numpy(), fields[self._dataset.iid_field].numpy(), self.n_negatives
            )
        return Interaction(fields)


def target_fields(row: np.ndarray, position: np.ndarray, n_rows: int, longest: int) -> dict[str, torch.Tensor]:
    """Where the targets of a batch stand: the fields ``target_row`` and ``target_position``, ``[targets]`` each.

    Where no row has targets at more than half of its positions, also which positions of each row are read
    (``read_positions``: ``[rows, most of a row]``, 0 where a row has fewer), and which of them is the target's
    (``target_slot``: ``[targets]``), for a model that computes its last layer there alone. How many they are is a
    number that shapes depend on: asked of a tensor on a GPU, it would make the host wait for all that is in its queue.

    Args:
        row: ascending, ``[targets]``.
    """
    fields = {TARGET_ROW: torch.from_numpy(row), TARGET_POSITION: torch.from_numpy(position)}
    n_targets = np.bincount(row, minlength=n_rows)
    most = int(n_targets.max(initial=0))
    if 0 < most * 2 <= longest:
        slot = np.arange(len(row)) - (n_targets.cumsum() - n_targets)[row]
        read = np.zeros((n_rows, most), dtype=position.dtype)
        read[row, slot] = position
        fields |= {TARGET_SLOT: torch.from_numpy(slot), READ_POSITIONS: torch.from_numpy(read)}
    return fields


def batches_by_length(
    lengths: np.ndarray,
    n_targets: np.ndarray,
    batch_size: int,
    generator: np.random.Generator,
    positions: int = POSITIONS_PER_PART,
) -> Iterator[list[np.ndarray]]:
    """An epoch's batches over rows in random order, ``[rows]``: about ``batch_size`` targets each, similar lengths.

    Rows are sorted by length within pools of a few batches, batches come in random order, and each comes as the
    parts that go through the model one after the other, of about ``positions`` positions each.
    """
    batches: list[np.ndarray] = []
    for pool in split_by_sum(np.arange(len(lengths)), n_targets, BATCHES_PER_POOL * batch_size):
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        batches += split_by_sum(by_length, n_targets[by_length], batch_size)
    for index in generator.permutation(len(batches)):
        batch = batches[index]
        yield split_by_sum(batch, lengths[batch], positions)


def split_by_sum(values: np.ndarray, sizes: np.ndarray, limit: int) -> list[np.ndarray]:
    """Cut ``values`` into runs whose ``sizes`` sum to about ``limit`` each."""
    ends = sizes.cumsum()
    n_parts = max(1, round(int(ends[-1]) / limit)) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(1, n_parts) * (ends[-1] / n_parts)) if n_parts else []
    return [part for part in np.split(values, cuts) if len(part)]
