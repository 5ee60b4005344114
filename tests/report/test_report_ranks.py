"""Metrics from ranks are RecBole's; ranks that can't be those of a record are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.ranks import alone, packed
from recbole_ext.report.ranks import decided_by_ranks, load_ranks, metric_of_ranks


@pytest.mark.parametrize("metric", ["recall@5", "hit@5", "ndcg@5", "mrr@5", "precision@5"])
def test_a_metric_of_ranks_is_recboles(metric: str) -> None:
    from recbole_ext.compat.libraries import restore_numpy_names

    restore_numpy_names()
    from recbole.evaluator import metrics as recboles

    ranks = np.array([1, 2, 5, 6, 0, 3, 50])
    name = {"recall": "Recall", "hit": "Hit", "ndcg": "NDCG", "mrr": "MRR", "precision": "Precision"}[metric[:-2]]
    config = {"topk": [5], "metric_decimal_place": 12}
    hits = ranks[:, None] == np.arange(1, 6)
    relevant = [np.ones(len(ranks), dtype=int)] if name in ("Recall", "NDCG") else []
    result = getattr(recboles, name)(config).metric_info(hits, *relevant)
    assert metric_of_ranks(metric, alone(ranks)) == pytest.approx(result[:, 4])


@pytest.mark.parametrize("metric", ["map@5", "ndcg", "auc"])
def test_a_metric_that_ranks_do_not_decide_is_refused(metric: str) -> None:
    with pytest.raises(ConfigurationError, match=metric):
        metric_of_ranks(metric, np.array([[1, 1]]))


def test_per_user_ndcg_at_the_edges() -> None:
    expected = [0.0, 1.0, 1 / np.log2(3), 1 / np.log2(11), 0.0, 0.0]
    assert metric_of_ranks("ndcg@10", alone(np.array([0, 1, 2, 10, 11, 50]))).tolist() == pytest.approx(expected)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40), st.integers(1, 1500))
def test_values_lie_between_0_and_1_and_a_better_rank_is_never_worth_less(ranks: list[int], k: int) -> None:
    better = np.array([max(rank - 1, min(rank, 1)) for rank in ranks])
    for family in ("recall", "hit", "ndcg", "mrr", "precision"):
        values = metric_of_ranks(f"{family}@{k}", alone(np.array(ranks)))
        assert ((values >= 0) & (values <= 1)).all()
        assert (metric_of_ranks(f"{family}@{k}", alone(better)) >= values).all()


def test_ranks_above_255_are_kept_and_checked(benchmark: Benchmark) -> None:
    ranks = np.array([257, 1, 300, 0], dtype=np.int32)
    record = benchmark.add(ranks=ranks, topk=[20, 400])
    found = load_ranks(benchmark.folder, record)
    assert found is not None and found.tolist() == alone(ranks).tolist()
    assert record.done.test["recall@20"] == 0.25


@pytest.mark.parametrize("topk", [[20, 400], [10, 400]])
def test_ranks_too_narrow_for_their_topk_are_refused_as_that(benchmark: Benchmark, topk: list[int]) -> None:
    wide = np.array([257, 1, 300, 0], dtype=np.int32)
    record = benchmark.add(ranks=wide, topk=topk)
    np.save(benchmark.folder / "runs" / f"{record.run}.ranks.npy", wide.astype(np.uint8))
    with pytest.raises(ConfigurationError, match="uint8, too narrow for ranks up to 400"):
        load_ranks(benchmark.folder, record)


def test_only_metrics_up_to_the_largest_k_are_checked_against_ranks(benchmark: Benchmark) -> None:
    """A metric beyond topk, which ranks do not decide, may say what it likes."""
    ranks = np.array([1, 2, 0, 0], dtype=np.int32)
    record = benchmark.add(ranks=ranks, topk=[10], test={"recall@10": 0.5, "recall@50": 0.9, "itemcoverage@10": 0.3})
    found = load_ranks(benchmark.folder, record)
    assert found is not None and found.tolist() == alone(ranks).tolist()
    assert [decided_by_ranks(m, record) for m in ("recall@10", "recall@50", "itemcoverage@10", "auc")] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("metric", ["ndcg@10", "recall@5", "mrr@50"])
def test_ranks_that_contradict_any_metric_of_their_record_are_refused(benchmark: Benchmark, metric: str) -> None:
    record = benchmark.add()
    wrong = record.done.test | {metric: record.done.test[metric] + 0.01}
    other = record.model_copy(update={"made": record.done.model_copy(update={"test": wrong})})
    load_ranks(benchmark.folder, record)
    with pytest.raises(ConfigurationError, match=f"gives {metric} .*of different runs"):
        load_ranks(benchmark.folder, other)


def test_of_several_test_items_the_first_rank_decides_hit_and_mrr_alone(benchmark: Benchmark) -> None:
    record = benchmark.add(popularity=None, test={"ndcg@10": 0.9, "recall@10": 0.9, "hit@10": 0.9})
    with pytest.raises(ConfigurationError, match="hit@10"):
        load_ranks(benchmark.folder, record)
    decided = [metric for metric in ("ndcg@10", "recall@10", "hit@10", "mrr@10") if decided_by_ranks(metric, record)]
    assert decided == ["hit@10", "mrr@10"]


@pytest.mark.parametrize(
    "content",
    [np.ones((3, 3), dtype=np.int32), np.zeros((3, 2), dtype=np.int32), np.ones(3), np.ones(0, dtype=np.int32)],
)
def test_ranks_of_another_shape_or_kind_are_refused(benchmark: Benchmark, content: np.ndarray) -> None:
    record = benchmark.add()
    np.save(benchmark.folder / "runs" / f"{record.run}.ranks.npy", content)
    with pytest.raises(ConfigurationError, match="one integer per user"):
        load_ranks(benchmark.folder, record)


def test_ranks_that_ties_spread_are_worth_the_mean_of_their_places(benchmark: Benchmark) -> None:
    ranks = np.array([[1, 2], [5, 2], [3, 1], [0, 1]], dtype=np.int32)
    expected = [(1 + 1 / np.log2(3)) / 2, (1 / np.log2(6)) / 2, 1 / np.log2(4), 0.0]
    assert metric_of_ranks("ndcg@5", ranks).tolist() == pytest.approx(expected)
    record = benchmark.add(ranks=ranks[:, 0], topk=[5], test={"ndcg@5": float(np.mean(expected))}, with_ranks=False)
    np.save(benchmark.folder / "runs" / f"{record.run}.ranks.npy", packed(ranks, 5))
    found = load_ranks(benchmark.folder, record)
    assert found is not None and found.tolist() == ranks.tolist()


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_ranks_are_never_unpickled(benchmark: Benchmark, tmp_path: Path) -> None:
    record = benchmark.add()
    trap = np.array([_Trap(tmp_path / "sprung")], dtype=object)
    np.save(benchmark.folder / "runs" / f"{record.run}.ranks.npy", trap, allow_pickle=True)
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_ranks(benchmark.folder, record)
    assert not (tmp_path / "sprung").exists()
