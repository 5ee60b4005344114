"""RecBole's own batches of prefix samples, computed without their padding.

Which samples make a batch, in which order, with which masks and negatives, is RecBole's loader's; the batch then goes
through the model in parts of similar length, each trimmed to its longest, and the parts' gradients add up. Training
differs from stock RecBole's in rounding and in which units dropout hits, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_ext.capacity import positions_at_once
from recbole_ext.training.rows import POSITIONS_PER_PART, TARGET_ROW, split_by_sum, target_fields


class PrefixLoader:
    """RecBole's ``TrainDataLoader`` for a causal model, each sample a row with one target, in parts by length.

    A part holds what :class:`recbole_ext.training.rows.UserRowLoader` gives.
    """

    def __init__(self, samples: Any) -> None:
        self.samples, self._dataset, self.dataset = samples, samples._dataset, samples._dataset
        self._sampler, self.shuffle = samples._sampler, samples.shuffle
        self.length_field = self._dataset.item_list_length_field
        self.at_once = positions_at_once(samples.config, POSITIONS_PER_PART)
        self.list_fields = [self._dataset.iid_field + samples.config["LIST_SUFFIX"]]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[list[Interaction]]:
        for batch in self.samples:
            by_length = parts_by_length(batch[self.length_field].numpy(), self.at_once)
            parts = [self.part(batch[part]) for part in by_length]
            yield [part for part in parts if len(part[TARGET_ROW])]

    def part(self, samples: Interaction) -> Interaction:
        """These samples as rows trimmed to their longest, with one target each: the item after the last."""
        longest = int(samples[self.length_field].max())
        fields = {name: samples[name] for name in samples.columns if samples[name].dim() == 1}
        fields |= {name: samples[name][:, :longest] for name in self.list_fields}
        fields |= self.targets(samples, longest)
        return Interaction(fields)

    def targets(self, samples: Interaction, longest: int) -> dict[str, torch.Tensor]:
        position = samples[self.length_field].numpy() - 1
        return target_fields(np.arange(len(samples)), position, len(samples), longest)


def parts_by_length(lengths: np.ndarray, positions: int = POSITIONS_PER_PART) -> list[np.ndarray]:
    """Samples of a batch in parts, by rising length: none is padded to more than twice its own length.

    Args:
        lengths: of each sample's history, ``[samples]``.
        positions: that a part has at most, about.
    """
    by_length = np.argsort(lengths, kind="stable")
    doublings = np.ceil(np.log2(lengths[by_length]))
    parts = np.split(by_length, np.flatnonzero(np.diff(doublings)) + 1)
    return [piece for part in parts for piece in split_by_sum(part, lengths[part], positions)]


class MaskedPrefixLoader(PrefixLoader):
    """RecBole's ``TrainDataLoader`` for BERT4Rec with the masks that RecBole's ``mask_itemseq`` drew.

    A part holds what :class:`recbole_ext.training.masked.MaskedRowLoader` gives. As in RecBole, a mask at position 0
    is not learned from.
    """

    def __init__(self, samples: Any) -> None:
        super().__init__(samples)
        config = samples.config
        self.masked_list = config["MASK_ITEM_SEQ"]
        self.masked_index, self.items, self.negatives = (
            config[key] for key in ("MASK_INDEX", "POS_ITEMS", "NEG_ITEMS")
        )
        self.item_list, self.negative_item = self.list_fields[0], config["NEG_PREFIX"] + self._dataset.iid_field
        self.list_fields = [self.masked_list]

    def part(self, samples: Interaction) -> Interaction:
        fields = super().part(samples).interaction
        fields[self.item_list] = fields.pop(self.masked_list)
        return Interaction(fields)

    def targets(self, samples: Interaction, longest: int) -> dict[str, torch.Tensor]:
        row, slot = torch.nonzero(samples[self.masked_index] > 0, as_tuple=True)
        return {
            **target_fields(row.numpy(), samples[self.masked_index][row, slot].numpy(), len(samples), longest),
            self._dataset.iid_field: samples[self.items][row, slot],
            self.negative_item: samples[self.negatives][row, slot],
        }
