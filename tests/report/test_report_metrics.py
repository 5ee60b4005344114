from __future__ import annotations

import pytest

from recbole_ext.report.metrics import SMALLER_IS_BETTER, compared, headline, in_order, metric_title, sign


def test_cutoffs_are_ordered_as_numbers_and_other_metrics_come_last() -> None:
    metrics = {"hit@10", "mrr@5", "ndcg@20", "ndcg@5", "ndcg@100", "recall@10", "auc"}
    assert in_order(metrics) == ["recall@10", "ndcg@5", "ndcg@20", "ndcg@100", "mrr@5", "auc", "hit@10"]


@pytest.mark.parametrize(
    ("metrics", "first", "shown"),
    [
        (["recall@5", "recall@10", "ndcg@1", "ndcg@10", "mrr@10"], "ndcg@10", ["ndcg@10", "recall@10"]),
        (["recall@5", "recall@10", "ndcg@1", "ndcg@10"], "recall@5", ["recall@5", "ndcg@10"]),
        (["ndcg@1", "ndcg@20", "ndcg@50"], "ndcg@20", ["ndcg@20"]),
        (["ndcg@20", "recall@20", "recall@400"], "ndcg@20", ["ndcg@20", "recall@20"]),
        (["ndcg@1", "ndcg@20"], "mrr@10", ["ndcg@20"]),
        (["auc"], "auc", ["auc"]),
    ],
)
def test_the_headline_is_the_metric_of_the_ranking_and_another_at_its_cutoff(
    metrics: list[str], first: str, shown: list[str]
) -> None:
    assert headline(metrics, first) == shown


def test_compared_are_the_ranking_s_metric_and_the_usual_ones() -> None:
    assert compared(["recall@10", "ndcg@5", "ndcg@10"], "ndcg@10") == ["ndcg@10", "ndcg@5", "recall@10"]
    assert compared(["recall@10", "mrr@5"], "mrr@5") == ["mrr@5", "recall@10"]
    assert compared(["ndcg@20", "recall@20"], "ndcg@20") == ["ndcg@20", "recall@20"]


def test_smaller_is_better_where_recbole_says_so() -> None:
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole.evaluator.register import smaller_metrics

    assert set(smaller_metrics) == SMALLER_IS_BETTER
    assert (sign("giniindex@10"), sign("ndcg@10")) == (-1, 1)


def test_titles() -> None:
    assert [metric_title(m) for m in ("ndcg@10", "recall@5", "auc")] == ["NDCG@10", "Recall@5", "AUC"]
