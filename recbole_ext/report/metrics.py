"""Metrics by RecBole's names, such as ``ndcg@10``: their order, their titles, which of them are shown and compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

SMALLER_IS_BETTER = frozenset({"averagepopularity", "giniindex", "logloss", "mae", "rmse"})
"""RecBole's ``smaller_metrics``."""
_FAMILIES = ("recall", "ndcg", "mrr")
_COMPARED = ("ndcg@10", "ndcg@5", "recall@10")
_TITLES = {
    "recall": "Recall",
    "hit": "Hit",
    "precision": "Precision",
    "itemcoverage": "Coverage",
    "averagepopularity": "Popularity",
    "giniindex": "Gini",
    "shannonentropy": "Entropy",
    "tailpercentage": "Tail share",
    "novelty": "Novelty",
    "intralistdistance": "Diversity",
}


def family(metric: str) -> str:
    """``ndcg`` of ``ndcg@10``."""
    return metric.partition("@")[0]


def cutoff(metric: str) -> int:
    """10 of ``ndcg@10``; 0 for a metric without one."""
    at = metric.partition("@")[2]
    return int(at) if at.isdigit() else 0


def metric_title(metric: str) -> str:
    """``ndcg@10`` as NDCG@10, ``recall@10`` as Recall@10."""
    return _TITLES.get(family(metric), family(metric).upper()) + metric[len(family(metric)) :]


def sign(metric: str) -> int:
    """1 where larger is better, else −1."""
    return -1 if family(metric) in SMALLER_IS_BETTER else 1


def in_order(metrics: Iterable[str]) -> list[str]:
    """recall@K…, ndcg@K…, mrr@K…, K ascending; then whatever else RecBole was asked for."""

    def place(metric: str) -> tuple[int, str, int]:
        name = family(metric)
        return (_FAMILIES.index(name) if name in _FAMILIES else len(_FAMILIES), name, cutoff(metric))

    return sorted(set(metrics), key=place)


def headline(metrics: Sequence[str], first: str) -> list[str]:
    """The two metrics to look at first: ``first``, and of another family the nearest to it in cutoff."""
    if first not in metrics:
        first = _nearest(metrics, ("ndcg", "recall", "mrr"), 10) or next(iter(metrics), first)
    others = [name for name in ("ndcg", "recall", "mrr") if name != family(first)]
    second = _nearest(metrics, others, cutoff(first))
    return [first, second] if second else [first]


def compared(metrics: Sequence[str], first: str) -> list[str]:
    """The metrics in which a row is compared with its baseline, ``first`` in front."""
    usual = [metric for metric in _COMPARED if metric in metrics]
    return list(dict.fromkeys([*headline(metrics, first)[:1], *(usual or headline(metrics, first))]))


def _nearest(metrics: Sequence[str], families: Sequence[str], to: int) -> str | None:
    for name in families:
        of_family = [metric for metric in metrics if family(metric) == name]
        if of_family:
            return min(
                of_family, key=lambda metric: (abs(math.log(max(cutoff(metric), 1) / max(to, 1))), cutoff(metric))
            )
    return None
