"""RecBole's evaluation without work done twice; the numbers are RecBole's evaluator's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.evaluator.collector import Collector, DataStruct
from recbole.evaluator.evaluator import Evaluator
from recbole.evaluator.register import metric_information
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import EvaluatorType, ModelType
from torch.nn.functional import pad

from recbole_ext.capacity import NUMBER, at_once
from recbole_ext.errors import ConfigurationError
from recbole_ext.moving import moved
from recbole_ext.records.ranks import alone, expected_worth
from recbole_ext.training.team import ALONE, Team

# Scores of one evaluation batch, [users, items], stay below this many numbers (1 GiB in float32), on an accelerator
# below this share of its memory.
MAXIMUM_SCORES = 2**28
SHARE_OF_SCORES = 1 / 16
# Pairs of a user and an item that a model scores at once, where it can't score all items of a user together.
MAXIMUM_PAIRS = 2**16


def evaluation_batch_size(config: Any, phase: str, n_items: int) -> int:
    """What RecBole's loader of ``phase`` is to take for ``eval_batch_size``.

    The key counts users where all items are ranked, also for general models, for which RecBole counts scores and so
    goes through the users one by one; for ``augmented`` they are RecBole's batches. Scores stay in bounded memory.
    """
    requested, all_together = int(config["eval_batch_size"]), scores_all_items_at_once(config.model_class)
    ranks_all = config["eval_args"]["mode"][phase] == "full"
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        requested = -(-requested // int(config["nproc"] or 1))  # processes take batches in turn
        scores = most_scores(config["device"])
        return bounded_batch_size(requested, n_items, scores if all_together or not ranks_all else MAXIMUM_PAIRS)
    if not ranks_all or config["training_samples"] == "augmented":
        return requested
    if not all_together:
        return max(requested, MAXIMUM_PAIRS)
    return bounded_batch_size(requested, n_items, most_scores(config["device"])) * n_items


def scores_all_items_at_once(model: type) -> bool:
    """Whether a model's class scores all items of a user together; where not, RecBole asks it pair by pair."""
    return getattr(model, "full_sort_predict", AbstractRecommender.full_sort_predict) is not (
        AbstractRecommender.full_sort_predict
    )


def most_scores(device: Any) -> int:
    """Scores of one evaluation batch on this device."""
    return at_once(device, MAXIMUM_SCORES, SHARE_OF_SCORES, NUMBER)


def bounded_batch_size(requested: int, n_items: int, maximum: int = MAXIMUM_SCORES) -> int:
    """The largest evaluation batch, in users, whose scores fit ``maximum``; at most ``requested``."""
    return max(1, min(requested, maximum // max(n_items, 1)))


PLACES = "rec.places"
"""What the collector adds to RecBole's struct where each user has one item to find; see :func:`places`."""
COLLECTED = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label", PLACES)
"""What is collected batch by batch, with a row for each row of the scores."""
VECTORS = "data.item_vectors"
"""What a metric asks for that needs the items' vectors, float32 ``[items, dim]`` by internal id; padding is zero."""

USERS_OF_ITEM = "data.users_of_item"
"""How many different users had each item in training, int ``[items]`` by internal id."""


class LeaveOneOutCollector(Collector):
    """Collects the same ``rec.topk`` as RecBole's collector where each user has one positive item.

    RecBole sorts out the top items of every user and marks the positives in a dense ``[users, items]`` matrix. The
    rank of one positive item is the number of items that score higher, which is one comparison per score. Where other
    items score exactly the same, it stands in each of their places with equal probability, and metrics are expected
    values (see :class:`RankKeepingEvaluator`); with ``training_samples: augmented`` the order is ``torch.topk``'s, as
    in RecBole.

    Nothing is read back from the device before the evaluation ends, unless metrics depend on the order of ties.

    Attributes:
        orders_ties: whether the places of tied items matter, so that ``torch.topk`` has to say them.
    """

    orders_ties = True
    _tied: torch.Tensor | int | None = None

    def __init__(self, config: Any, team: Team = ALONE) -> None:
        super().__init__(config)
        self.team = team
        self._n_batches = 0
        self._batch_of_row: list[torch.Tensor] = []
        self.expects = config["training_samples"] != "augmented"
        needs = [list(metric_information[name.lower()]) for name in config["metrics"]]
        self.expects_all = self.expects and all(need == ["rec.topk"] for need in needs if "rec.topk" in need)

    @property
    def tied_targets(self) -> int | None:
        """How many positive items of the evaluation scored exactly as another item, so that their rank is one of
        several; ``None`` where they were not counted."""
        return None if self._tied is None else int(self._tied)

    def begin(self, loader: Any) -> None:
        """Start an evaluation with the batches of ``loader``."""
        self._tied = None
        self._n_batches, self._batch_of_row = 0, []
        self.orders_ties = not (self.expects_all and _has_one_each(loader))

    def takes_next(self) -> bool:
        """Whether the next batch is this process's to score; of the others' nothing is collected here."""
        self._n_batches += 1
        return (self._n_batches - 1) % self.team.size == self.team.number

    def data_collect(self, train_data: Any) -> None:
        """RecBole's, and where a metric asks for them the vectors of ``diversity_vectors`` and the users of items."""
        super().data_collect(train_data)
        if self.register.need(USERS_OF_ITEM):
            from recbole_ext.beyond_accuracy import users_of_items

            self.data_struct.set(USERS_OF_ITEM, users_of_items(train_data._dataset))
        if self.register.need(VECTORS):
            from recbole_ext.beyond_accuracy import vectors_of_items

            self.data_struct.set(VECTORS, vectors_of_items(train_data._dataset, self.config))

    def eval_batch_collect(
        self,
        scores_tensor: torch.Tensor | None,
        interaction: Any,
        positive_u: torch.Tensor,
        positive_i: torch.Tensor,
    ) -> None:
        if scores_tensor is None:
            return
        self._batch_of_row.append(torch.full((len(scores_tensor),), self._n_batches))
        others = ("rec.meanrank", "rec.score", "data.label")
        if any(self.register.need(what) for what in others) or not _one_each(positive_u, len(scores_tensor)):
            self._require_enough_items(scores_tensor)
            found = moved((positive_u, positive_i), scores_tensor.device)
            super().eval_batch_collect(scores_tensor, interaction, *found)
            return
        if self.register.need("rec.items"):
            self._require_enough_items(scores_tensor)
            self.data_struct.update_tensor("rec.items", torch.topk(scores_tensor, max(self.topk), dim=-1).indices)
        if not self.register.need("rec.topk"):
            return
        positive = moved(positive_i, scores_tensor.device)
        hits, tied = positive_hits(scores_tensor, positive, max(self.topk), self.orders_ties)
        self._tied = tied if self._tied is None else self._tied + tied
        if self.expects:
            found = places(scores_tensor, positive)
            hits.masked_fill_(found[:, :1] == 0, 0)  # topk takes NaN for the largest
            self.data_struct.update_tensor(PLACES, found)
        self.data_struct.update_tensor("rec.topk", torch.cat([hits, torch.ones_like(hits[:, :1])], dim=1))

    def _require_enough_items(self, scores: torch.Tensor) -> None:
        if self.config["eval_type"] == EvaluatorType.RANKING and max(self.topk) > scores.shape[1]:
            raise ConfigurationError(f"topk: {max(self.topk)} is more than the {scores.shape[1] - 1} items there are.")

    def get_data_struct(self) -> Any:
        """RecBole's, of all processes' batches; places are of one evaluation, and not handed on twice."""
        if self.team.size > 1:
            self._gather()
        struct = super().get_data_struct()
        self.data_struct._data_dict.pop(PLACES, None)
        return struct

    def _gather(self) -> None:
        """Let every process have what all have collected, in the order of the loader's batches."""
        values = self.data_struct._data_dict
        ours = {name: values[name].cpu() for name in COLLECTED if name in values}
        gathered = self.team.gathered((self._batch_of_row, self.tied_targets, ours))
        batches, tied, collected = zip(*gathered, strict=True)
        order = torch.argsort(torch.cat([rows for of_one in batches for rows in of_one]), stable=True)
        for name in dict.fromkeys(name for of_one in collected for name in of_one):
            values[name] = torch.cat([of_one[name] for of_one in collected if name in of_one])[order]
        counts = [count for count in tied if count is not None]
        self._tied = sum(counts) if counts else None


def positive_hits(
    scores: torch.Tensor, positive: torch.Tensor, k: int, orders_ties: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each user's positive item stands in its top ``k``: int ``[users, k]``, at most one 1 per row.

    Of items that score the same the order is ``torch.topk``'s, or with ``orders_ties`` off the positive one is first.

    Args:
        scores: ``[users, items]``.
        positive: item id per user, ``[users]``.

    Returns:
        The hits, and how many positive items score exactly as another one, a scalar.
    """
    own = scores.gather(1, positive.unsqueeze(1))
    rank = (scores > own).sum(dim=1)
    hits = (rank.unsqueeze(1) == torch.arange(k, device=scores.device)).int()
    ties = (scores == own).sum(dim=1) != 1
    tied = ties & (rank < k)
    if orders_ties and tied.any():
        reach = min(k, scores.shape[1])  # RecBole's own collector fails where there are fewer items than k
        top = torch.topk(scores[tied], reach, dim=-1).indices
        hits[tied] = pad((top == positive[tied].unsqueeze(1)).int(), (0, k - reach))
    return hits, ties.sum()


def places(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """The first place that a user's positive item may stand in, from 1, and how many it is spread over: ``[users, 2]``.

    It is spread over as many places as there are items of its very score. A score that is NaN has no place: 0 and 1.
    """
    own = scores.gather(1, positive.unsqueeze(1))
    first = (scores > own).sum(dim=1) + 1
    spread = (scores == own).sum(dim=1)
    nowhere = spread == 0
    return torch.stack([first.masked_fill(nowhere, 0), spread.masked_fill(nowhere, 1)], dim=1)


def _has_one_each(loader: Any) -> bool:
    """Whether each row that full ranking scores has one item to find."""
    if not isinstance(loader, FullSortEvalDataLoader):
        return False
    return loader.is_sequential or bool((loader.uid2items_num[loader.uid_list] == 1).all())


def _one_each(positive_u: torch.Tensor, n_users: int) -> bool:
    return len(positive_u) == n_users and bool((positive_u.cpu() == torch.arange(n_users)).all())


class RankKeepingEvaluator(Evaluator):
    """RecBole's evaluator, which counts ties in expectation and keeps the ranks, where all users have one item to find.

    A metric of the ranks alone (it needs ``rec.topk`` and nothing else, and is a mean over users) is given the value
    that it has on average over the places of the items with the very score of the one to find; RecBole's own class
    says what each place is worth. Without ties every number is RecBole's.

    Attributes:
        ranks: ``[users, 2]``, the first place from 1, 0 = beyond the largest K, and over how many it is spread.
    """

    ranks: np.ndarray | None = None

    def evaluate(self, dataobject: Any) -> Any:
        self.ranks = None
        found = dataobject.get("rec.topk").numpy() if "rec.topk" in dataobject else None
        if found is not None and (found[:, -1] == 1).all():
            self.ranks = self._ranks(found[:, :-1] > 0, dataobject)
        result = super().evaluate(dataobject)
        if self.ranks is not None and (self.ranks[:, 1] > 1).any():
            for name in self.metrics:
                metric = self.metric_class[name]
                if list(metric.metric_need) == ["rec.topk"]:
                    result.update(self._expected(metric))
        return result

    def _ranks(self, hits: np.ndarray, dataobject: Any) -> np.ndarray:
        if PLACES not in dataobject:
            return alone(np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0))
        ranks = dataobject.get(PLACES).numpy().copy()
        ranks[ranks[:, 0] > hits.shape[1]] = (0, 1)
        return ranks

    def _expected(self, metric: Any) -> dict[str, float]:
        assert self.ranks is not None
        worth = self._worth(metric)
        decimals = self.config["metric_decimal_place"]
        return {
            name: round(float(expected_worth(self.ranks, of_place).mean()), decimals)
            for name, of_place in worth.items()
        }

    def _worth(self, metric: Any) -> dict[str, np.ndarray]:
        """What the metric is for a user whose item is at each place, 0 = beyond the largest K: by name ``[K + 1]``."""
        k = max(self.config["topk"])
        of_places: dict[str, list[float]] = {}
        rounding, metric.decimal_place = metric.decimal_place, 17
        try:
            for place in range(k + 1):
                row = torch.zeros(1, k + 1, dtype=torch.int)
                row[0, -1] = 1
                if place:
                    row[0, place - 1] = 1
                struct = DataStruct()
                struct.set("rec.topk", row)
                for name, value in metric.calculate_metric(struct).items():
                    of_places.setdefault(name, []).append(float(value))
        finally:
            metric.decimal_place = rounding
        return {name: np.array(values) for name, values in of_places.items()}


def ranks_by_user(ranks: np.ndarray, loader: Any) -> np.ndarray:
    """Ranks ``[users, 2]`` in the order of RecBole's internal user ids; see :mod:`recbole_ext.records.ranks`."""
    users = getattr(loader, "uid_list", None)
    if users is None:
        users = loader._dataset.inter_feat[loader._dataset.uid_field]
    return ranks[np.argsort(np.asarray(users), kind="stable")]
