"""Sampled ranking (``uni100``, ``pop100``) that reads every history once instead of once per candidate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader


class Candidates(NamedTuple):
    """The items that are ranked for each user of a batch, ``[users, candidates]``; all others are left out."""

    items: torch.Tensor

    def left_out(self, n_items: int) -> torch.Tensor:
        """The mask of all other items, bool ``[users, n_items]``, on the candidates' device."""
        mask = torch.ones(len(self.items), n_items, dtype=torch.bool, device=self.items.device)
        return mask.scatter_(1, self.items.long(), False)


class SampledRankingLoader(FullSortEvalDataLoader):
    """RecBole's :class:`NegSampleEvalDataLoader` for a sequential model whose users have one test item each.

    RecBole pairs each of a user's 101 candidates with a copy of the history, so the model encodes the same history
    101 times. Here it encodes it once and scores all items; what is not a candidate is left out by a mask
    that is made where the scores are (:class:`Candidates`). The negatives are drawn by RecBole's sampler, user by user
    in RecBole's order: from the same random state the same candidates, whatever the order of the batches.
    """

    def __init__(self, stock: NegSampleEvalDataLoader) -> None:
        self._negatives = int(stock.neg_sample_num)
        super().__init__(stock.config, stock._dataset, stock._sampler)
        self._candidates = torch.empty(0, 0, dtype=torch.int32)

    def __iter__(self) -> Any:
        self._candidates = self._draw()
        return super().__iter__()

    def _draw(self) -> torch.Tensor:
        """Candidates of every sample, the positive first: int32 ``[samples, 1 + negatives]``."""
        users = self._dataset.inter_feat[self._dataset.uid_field].numpy()
        items = self._dataset.inter_feat[self.iid_field].numpy()
        candidates = np.empty((len(users), 1 + self._negatives), dtype=np.int32)
        candidates[:, 0] = items
        for sample in np.argsort(users, kind="stable"):
            user, item = users[sample : sample + 1], items[sample : sample + 1]
            candidates[sample, 1:] = self._sampler.sample_by_user_ids(user, item, self._negatives).numpy()
        return torch.from_numpy(candidates)

    def collate_fn(self, index: list[int]) -> tuple[Any, Candidates, torch.Tensor, torch.Tensor]:
        """Samples, their candidates, and row and item of the positives."""
        interaction, _, positive_u, positive_i = super().collate_fn(index)
        return interaction, Candidates(self._candidates[index]), positive_u, positive_i


def has_one_positive_each(loader: NegSampleEvalDataLoader) -> bool:
    """Whether the loader samples negatives for users with one item to find each."""
    samples = loader.neg_sample_args["sample_num"] != "none" and loader.neg_sample_args["distribution"] != "none"
    return samples and len(loader.uid_list) > 0 and bool((loader.uid2items_num[loader.uid_list] == 1).all())
