"""BERT4Rec on one row per user: fresh random masks each epoch, and RecBole's last-item case.

What differs from RecBole 1.2.1, whose ``mask_itemseq`` masks every *prefix* sample of a user:

* Random masks fall on the user's whole training history (its last ``MAX_ITEM_LIST_LENGTH`` items, or a random
  window of that length), not on each of its prefixes. A row thus carries more masked items with more context.
* RecBole's samples end before their target, so that it never masks nor shows a user's last training item; here
  that item is part of the history.
* The last-item case (probability ``ft_ratio``) masks the last item of a random prefix of the history, which is
  one of RecBole's samples; it is drawn per row instead of per batch.
* A row whose random draw masks nothing gets one mask at a random position instead of being wasted. RecBole's loss
  skips a mask at position 0 (its padding index); here position 0 counts.
* An epoch predicts about as many masked items as RecBole's epoch has samples, and ``train_batch_size`` counts them.

The loss itself, mean cross-entropy (or BPR) over the masked items, is the model's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.bert4rec import BERT4Rec
from torch.nn.functional import logsigmoid, pad

from recbole_ext.capacity import positions_at_once
from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.training.losses import softmax_loss
from recbole_ext.training.new_items import n_trained_items
from recbole_ext.training.objective import outputs_at_targets, trained_items
from recbole_ext.training.rows import POSITIONS_PER_PART, batches_by_length, target_fields


class MaskedRowLoader:
    """Batches of masked histories; a drop-in for RecBole's ``TrainDataLoader`` where masked items are learned.

    A batch comes as parts, each an ``Interaction`` with the masked rows (``item_id_list``: ``[rows, longest]``) and
    per masked item its row, position, item and (for BPR) negative: ``[targets]``.
    """

    def __init__(self, config: Any, dataset: SequenceViewDataset, sampler: Any) -> None:
        self.config, self._dataset, self._sampler = config, dataset, sampler
        self.dataset, self.shuffle = dataset, True
        self.batch_size = int(config["train_batch_size"])
        self.at_once = positions_at_once(config, POSITIONS_PER_PART)
        self.maximum = int(config["MAX_ITEM_LIST_LENGTH"])
        self.mask_ratio, self.last_item_ratio = float(config["mask_ratio"]), float(config["ft_ratio"] or 0)
        self.mask_item = dataset.num(dataset.iid_field)
        self.n_trained = getattr(dataset, "n_trained_items", self.mask_item)
        self.wants_negatives = config["loss_type"] == "BPR"
        self.item_list = dataset.iid_field + config["LIST_SUFFIX"]
        self.negative_item = config["NEG_PREFIX"] + dataset.iid_field
        self.generator = np.random.default_rng(config["seed"])
        self._read_histories()

    def _read_histories(self) -> None:
        """Each user's training history, and how many rows an epoch draws from it."""
        self.begin, self.length = self._dataset.training_histories()
        n_samples = self.length - 1
        window = np.minimum(self.length, self.maximum)
        per_row = self.last_item_ratio + (1 - self.last_item_ratio) * np.maximum(self.mask_ratio * window, 1)
        self.rows_per_epoch = np.maximum(1, np.round(n_samples / per_row)).astype(int)
        self.targets_per_row = per_row

    def __len__(self) -> int:
        expected = float((self.rows_per_epoch * self.targets_per_row).sum())
        return max(1, round(expected / self.batch_size))

    def __iter__(self) -> Iterator[list[Interaction]]:
        users = np.repeat(np.arange(len(self.begin)), self.rows_per_epoch)
        self.generator.shuffle(users)
        start, length, ends_masked = self._draw_windows(users)
        n_targets = np.where(ends_masked, 1, np.maximum(self.mask_ratio * length, 1))
        for parts in batches_by_length(length, n_targets, self.batch_size, self.generator, self.at_once):
            yield [self.mask(start[part], length[part], ends_masked[part]) for part in parts]

    def _draw_windows(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A window of each user's history, and whether only its last item is to be masked: ``[rows]`` each."""
        full = self.length[users]
        ends_masked = self.generator.random(len(users)) < self.last_item_ratio
        shortest = np.where(ends_masked, np.minimum(2, full), np.minimum(full, self.maximum))
        end = self.generator.integers(shortest, full, endpoint=True)
        length = np.minimum(end, self.maximum)
        return self.begin[users] + end - length, length, ends_masked

    def mask(self, start: np.ndarray, length: np.ndarray, ends_masked: np.ndarray) -> Interaction:
        """Rows from ``start`` of ``length`` items, masked at their end or at random."""
        offset = np.arange(length.max())
        inside = offset < length[:, None]
        items = self._dataset.history[self._dataset.iid_field].numpy()
        rows = np.where(inside, items[np.where(inside, start[:, None] + offset, 0)], 0)
        at_random = (self.generator.random(rows.shape) < self.mask_ratio) & inside
        unlucky = ~at_random.any(axis=1)
        at_random[unlucky, self.generator.integers(0, length)[unlucky]] = True
        masked = np.where(ends_masked[:, None], offset == length[:, None] - 1, at_random)
        row, position = np.nonzero(masked)
        target = rows[row, position]
        fields = {
            self.item_list: torch.from_numpy(np.where(masked, self.mask_item, rows)),
            **target_fields(row, position, len(rows), len(offset)),
            self._dataset.iid_field: torch.from_numpy(target),
        }
        if self.wants_negatives:
            negative = self.generator.integers(1, self.n_trained, size=len(target))
            clash = (rows[row] == negative[:, None]).any(axis=1)
            while clash.any():
                negative[clash] = self.generator.integers(1, self.n_trained, size=int(clash.sum()))
                clash = (rows[row] == negative[:, None]).any(axis=1)
            fields[self.negative_item] = torch.from_numpy(negative)
        return Interaction(fields)


def mask_ends_at_once(model: Any) -> None:
    """Let RecBole's BERT4Rec put its mask behind all histories of a batch together.

    RecBole 1.2.1 goes through them one by one, and on a GPU waits for each. The items are the same.
    """
    if getattr(type(model), "reconstruct_test_data", None) is not BERT4Rec.reconstruct_test_data:
        return

    def reconstruct_test_data(items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        return pad(items, (0, 1)).scatter_(1, length.unsqueeze(1), model.mask_token)[:, 1:]

    model.reconstruct_test_data = reconstruct_test_data


def masked_loss(model: Any, interaction: Interaction) -> torch.Tensor:
    """BERT4Rec's loss over the masked items, computed at those positions alone: the mean over ``[targets]``.

    Equals ``BERT4Rec.calculate_loss`` for the same masks (RecBole pads each row's masks to a fixed number and
    multiplies the padding by zero).
    """
    target, outputs = interaction[model.ITEM_ID], outputs_at_targets(model, interaction)
    items, bias = trained_items(model), model.output_bias[: n_trained_items(model)]
    if model.loss_type == "CE":
        return softmax_loss(outputs, items, target, bias)
    negative = interaction[model.NEG_ITEM_ID]
    margin = (outputs * (items[target] - items[negative])).sum(-1) + bias[target] - bias[negative]
    return -logsigmoid(margin).mean()
