"""RecBole's evaluation without work done twice; the numbers are RecBole's evaluator's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.evaluator.collector import Collector
from recbole.evaluator.evaluator import Evaluator
from torch.nn.functional import pad

# Scores of one evaluation batch, [users, items], stay below this many numbers (1 GiB in float32).
MAXIMUM_SCORES = 2**28


def bounded_batch_size(requested: int, n_items: int) -> int:
    """The largest evaluation batch, in users, whose scores fit ``MAXIMUM_SCORES``; at most ``requested``."""
    return max(1, min(requested, MAXIMUM_SCORES // max(n_items, 1)))


class LeaveOneOutCollector(Collector):
    """Collects the same ``rec.topk`` as RecBole's collector where each user has one positive item.

    RecBole sorts out the top items of every user and marks the positives in a dense ``[users, items]`` matrix. The
    rank of one positive item is the number of items that score higher, which is one comparison per score; only
    where another item scores exactly the same is the order ``torch.topk``'s to decide, and there it is asked.
    """

    def eval_batch_collect(
        self,
        scores_tensor: torch.Tensor,
        interaction: Any,
        positive_u: torch.Tensor,
        positive_i: torch.Tensor,
    ) -> None:
        needed = {"rec.topk", "rec.items", "rec.meanrank", "rec.score", "data.label"}
        one_each = len(positive_u) == len(scores_tensor) and bool(
            (positive_u.cpu() == torch.arange(len(positive_u))).all()
        )
        if not one_each or any(self.register.need(what) for what in needed - {"rec.topk"}):
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
            return
        hits = positive_hits(scores_tensor, positive_i.to(scores_tensor.device), max(self.topk))
        self.data_struct.update_tensor("rec.topk", torch.cat([hits, torch.ones_like(hits[:, :1])], dim=1))


def positive_hits(scores: torch.Tensor, positive: torch.Tensor, k: int) -> torch.Tensor:
    """Where each user's positive item stands in its top ``k``: int ``[users, k]``, at most one 1 per row.

    Args:
        scores: ``[users, items]``.
        positive: item id per user, ``[users]``.
    """
    own = scores.gather(1, positive.unsqueeze(1))
    rank = (scores > own).sum(dim=1)
    hits = (rank.unsqueeze(1) == torch.arange(k, device=scores.device)).int()
    tied = ((scores == own).sum(dim=1) != 1) & (rank < k)
    if tied.any():
        reach = min(k, scores.shape[1])  # RecBole's own collector fails where there are fewer items than k
        top = torch.topk(scores[tied], reach, dim=-1).indices
        hits[tied] = pad((top == positive[tied].unsqueeze(1)).int(), (0, k - reach))
    return hits


class RankKeepingEvaluator(Evaluator):
    """RecBole's evaluator, which also keeps each evaluated user's rank of the positive item."""

    ranks: np.ndarray | None = None

    def evaluate(self, dataobject: Any) -> Any:
        self.ranks = None
        if "rec.topk" in dataobject:
            hits = dataobject.get("rec.topk").numpy()[:, :-1] > 0
            self.ranks = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
        return super().evaluate(dataobject)


def ranks_by_user(ranks: np.ndarray, loader: Any) -> np.ndarray:
    """Ranks in the order of RecBole's internal user ids: uint8 ``[users]``, 0 = beyond the largest K.

    ``ranks`` are in the loader's order, one per evaluated user.
    """
    users = getattr(loader, "uid_list", None)
    if users is None:
        users = loader._dataset.inter_feat[loader._dataset.uid_field]
    return ranks[np.argsort(np.asarray(users), kind="stable")].astype(np.uint8)
