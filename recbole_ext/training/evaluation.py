"""RecBole's evaluation without work done twice; the numbers are RecBole's evaluator's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.evaluator.collector import Collector
from recbole.evaluator.evaluator import Evaluator
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import EvaluatorType, ModelType
from torch.nn.functional import pad

from recbole_ext.errors import ConfigurationError

# Scores of one evaluation batch, [users, items], stay below this many numbers (1 GiB in float32).
MAXIMUM_SCORES = 2**28
# Pairs of a user and an item that a model scores at once, where it can't score all items of a user together.
MAXIMUM_PAIRS = 2**16


def evaluation_batch_size(config: Any, phase: str, n_items: int) -> int:
    """What RecBole's loader of ``phase`` is to take for ``eval_batch_size``.

    The key counts users where all items are ranked, also for general models, for which RecBole counts scores and so
    goes through the users one by one; for ``augmented`` they are RecBole's batches. Scores stay in bounded memory.
    """
    requested, at_once = int(config["eval_batch_size"]), scores_all_items_at_once(config.model_class)
    ranks_all = config["eval_args"]["mode"][phase] == "full"
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        return bounded_batch_size(requested, n_items, MAXIMUM_SCORES if at_once or not ranks_all else MAXIMUM_PAIRS)
    if not ranks_all or config["training_samples"] == "augmented":
        return requested
    return bounded_batch_size(requested, n_items) * n_items if at_once else max(requested, MAXIMUM_PAIRS)


def scores_all_items_at_once(model: type) -> bool:
    """Whether a model's class scores all items of a user together; where not, RecBole asks it pair by pair."""
    return getattr(model, "full_sort_predict", AbstractRecommender.full_sort_predict) is not (
        AbstractRecommender.full_sort_predict
    )


def bounded_batch_size(requested: int, n_items: int, maximum: int = MAXIMUM_SCORES) -> int:
    """The largest evaluation batch, in users, whose scores fit ``maximum``; at most ``requested``."""
    return max(1, min(requested, maximum // max(n_items, 1)))


class LeaveOneOutCollector(Collector):
    """Collects the same ``rec.topk`` as RecBole's collector where each user has one positive item.

    RecBole sorts out the top items of every user and marks the positives in a dense ``[users, items]`` matrix. The
    rank of one positive item is the number of items that score higher, which is one comparison per score; only
    where another item scores exactly the same is the order ``torch.topk``'s to decide, and there it is asked.

    Attributes:
        tied_targets: how many positive items of the evaluation scored exactly as another item, so that their rank is
            one of several; ``None`` where they were not counted.
    """

    tied_targets: int | None = None

    def eval_batch_collect(
        self,
        scores_tensor: torch.Tensor,
        interaction: Any,
        positive_u: torch.Tensor,
        positive_i: torch.Tensor,
    ) -> None:
        others = ("rec.items", "rec.meanrank", "rec.score", "data.label")
        if any(self.register.need(what) for what in others) or not _one_each(positive_u, len(scores_tensor)):
            self._require_enough_items(scores_tensor)
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
            return
        hits, tied = positive_hits(scores_tensor, positive_i.to(scores_tensor.device), max(self.topk))
        self.tied_targets = (self.tied_targets or 0) + tied
        self.data_struct.update_tensor("rec.topk", torch.cat([hits, torch.ones_like(hits[:, :1])], dim=1))

    def _require_enough_items(self, scores: torch.Tensor) -> None:
        if self.config["eval_type"] == EvaluatorType.RANKING and max(self.topk) > scores.shape[1]:
            raise ConfigurationError(f"topk: {max(self.topk)} is more than the {scores.shape[1] - 1} items there are.")


def positive_hits(scores: torch.Tensor, positive: torch.Tensor, k: int) -> tuple[torch.Tensor, int]:
    """Where each user's positive item stands in its top ``k``: int ``[users, k]``, at most one 1 per row.

    Args:
        scores: ``[users, items]``.
        positive: item id per user, ``[users]``.

    Returns:
        The hits, and how many positive items score exactly as another one.
    """
    own = scores.gather(1, positive.unsqueeze(1))
    rank = (scores > own).sum(dim=1)
    hits = (rank.unsqueeze(1) == torch.arange(k, device=scores.device)).int()
    ties = (scores == own).sum(dim=1) != 1
    tied = ties & (rank < k)
    n_tied = int(ties.sum())
    if n_tied and tied.any():
        reach = min(k, scores.shape[1])  # RecBole's own collector fails where there are fewer items than k
        top = torch.topk(scores[tied], reach, dim=-1).indices
        hits[tied] = pad((top == positive[tied].unsqueeze(1)).int(), (0, k - reach))
    return hits, n_tied


def _one_each(positive_u: torch.Tensor, n_users: int) -> bool:
    return len(positive_u) == n_users and bool((positive_u.cpu() == torch.arange(n_users)).all())


class RankKeepingEvaluator(Evaluator):
    """RecBole's evaluator, which also keeps each evaluated user's rank of the positive item, where all have one."""

    ranks: np.ndarray | None = None

    def evaluate(self, dataobject: Any) -> Any:
        self.ranks = None
        found = dataobject.get("rec.topk").numpy() if "rec.topk" in dataobject else None
        if found is not None and (found[:, -1] == 1).all():
            hits = found[:, :-1] > 0
            self.ranks = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
        return super().evaluate(dataobject)


def ranks_by_user(ranks: np.ndarray, loader: Any, maximum: int) -> np.ndarray:
    """Ranks in the order of RecBole's internal user ids: ``[users]``, 0 = beyond the largest K, ``maximum``.

    ``ranks`` are in the loader's order, one per evaluated user. They are kept in the smallest unsigned type that holds
    ``maximum``: uint8 up to 255.
    """
    users = getattr(loader, "uid_list", None)
    if users is None:
        users = loader._dataset.inter_feat[loader._dataset.uid_field]
    return ranks[np.argsort(np.asarray(users), kind="stable")].astype(np.min_scalar_type(maximum))
