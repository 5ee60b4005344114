"""Evaluation shortcuts give RecBole's ``rec.topk``, ties and all."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.evaluator.collector import Collector

from recbole_ext.records.ranks import expected_worth, packed
from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.training.evaluation import (
    LeaveOneOutCollector,
    RankKeepingEvaluator,
    bounded_batch_size,
    places,
    positive_hits,
    ranks_by_user,
)

Build = Callable[..., SimpleNamespace]


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_hits_equal_those_of_topk_also_where_scores_tie(seed: int, k: int, distinct: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 3 * distinct, (9, 12), generator=generator).float()
    scores[:, 0] = -torch.inf
    positive = torch.randint(1, 12, (9,), generator=generator)
    expected = (torch.topk(scores, k, dim=-1).indices == positive.unsqueeze(1)).int()
    found, n_tied = positive_hits(scores, positive, k)
    untied = (scores == scores.gather(1, positive.unsqueeze(1))).sum(1) == 1
    assert torch.equal(found[untied], expected[untied])
    tied_alone = torch.topk(scores[~untied], k, dim=-1).indices == positive[~untied].unsqueeze(1)
    assert torch.equal(found[~untied], tied_alone.int())
    assert n_tied == (~untied).sum()


def test_fewer_items_than_the_largest_k_leave_the_places_behind_them_empty() -> None:
    scores = torch.tensor([[-torch.inf, 2.0, 1.0, 1.0], [-torch.inf, 3.0, 2.0, 1.0]])
    hits, _ = positive_hits(scores, torch.tensor([3, 3]), 50)
    assert hits.shape == (2, 50) and hits.sum(dim=1).tolist() == [1, 1]
    assert hits.argmax(dim=1).tolist()[1] == 2 and hits.argmax(dim=1).tolist()[0] in (1, 2)


def test_the_collector_gives_recboles_struct(build: Build) -> None:
    config = build("SASRec").config
    scores = torch.randn(20, 61)
    positive = torch.randint(1, 61, (20,))
    structs = []
    for collector in (LeaveOneOutCollector(config), Collector(config)):
        collector.eval_batch_collect(scores.clone(), None, torch.arange(20), positive)
        structs.append(collector.get_data_struct().get("rec.topk"))
    assert torch.equal(*structs)


def test_users_with_several_positives_go_through_recboles_own_collector(build: Build) -> None:
    config = build("SASRec").config
    scores, users, items = torch.randn(3, 61), torch.tensor([0, 0, 1, 2]), torch.tensor([5, 6, 7, 8])
    structs = []
    for collector in (LeaveOneOutCollector(config), Collector(config)):
        collector.eval_batch_collect(scores.clone(), None, users, items)
        structs.append(collector.get_data_struct().get("rec.topk"))
    assert torch.equal(*structs) and structs[0][0, -1] == 2


def test_kept_ranks_give_back_the_reported_metrics_and_lie_in_the_order_of_users(build: Build) -> None:
    built = build("SASRec", topk=[1, 5, 10, 50])
    samples = choose_samples(built.config, built.model, built.loaders)
    trainer = build_trainer(built.config, built.model, built.checkpoint, samples.loss_of_rows)
    trainer.fit(samples.loader, built.loaders.valid, verbose=False)
    metrics = trainer.evaluate(built.loaders.test)
    ranks = trainer.test_ranks(built.loaders.test)
    assert ranks.dtype == np.uint8 and len(ranks) == 40
    assert np.mean((ranks > 0) & (ranks <= 5)) == pytest.approx(metrics["recall@5"], abs=1e-7)
    gains = 1 / np.log2(ranks[ranks > 0].astype(float) + 1)
    assert gains.sum() / len(ranks) == pytest.approx(metrics["ndcg@50"], abs=1e-7)
    dataset = built.loaders.test._dataset
    for user in (1, 17, 40):
        row = int((dataset.inter_feat["user_id"] == user).nonzero())
        scores = built.model.full_sort_predict(dataset[np.array([row])])[0]
        scores[0] = -torch.inf
        rank = int((scores > scores[dataset.inter_feat["item_id"][row]]).sum()) + 1
        assert ranks[user - 1] == (rank if rank <= 50 else 0)


def test_sampled_ranking_keeps_ranks_in_the_order_of_users_too(build: Build) -> None:
    eval_args = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "uni10"}
    built = build("SASRec", eval_args=eval_args)
    choose_samples(built.config, built.model, built.loaders)
    trainer = build_trainer(built.config, built.model, built.checkpoint)
    metrics = trainer.evaluate(built.loaders.test, load_best_model=False)
    ranks = trainer.test_ranks(built.loaders.test)
    assert len(ranks) == 40 and ranks.max() <= 11
    assert np.mean((ranks > 0) & (ranks <= 5)) == pytest.approx(metrics["recall@5"], abs=1e-7)


def test_ranks_are_sorted_by_user_id() -> None:
    loader = SimpleNamespace(uid_list=[3, 1, 2])
    assert ranks_by_user(np.array([[30, 1], [10, 2], [20, 1]]), loader).tolist() == [[10, 2], [20, 1], [30, 1]]


@pytest.mark.parametrize(("maximum", "kind"), [(50, np.uint8), (255, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_ranks_are_kept_in_a_type_that_holds_the_largest_k(maximum: int, kind: type) -> None:
    ranks = packed(np.array([[1, 1], [maximum, 1]]), maximum)
    assert ranks.dtype == kind and ranks.tolist() == [1, maximum]
    tied = np.array([[1, maximum], [2, 1]])
    assert packed(tied, 10).dtype == kind and packed(tied, 10).tolist() == tied.tolist()


@pytest.mark.parametrize("n_items", [10, 5_000, 1_000_000, 10**9])
def test_scores_of_an_evaluation_batch_stay_bounded(n_items: int) -> None:
    size = bounded_batch_size(4096, n_items)
    assert 1 <= size <= 4096 and (size == 1 or size * n_items <= 2**28)


def test_no_ranks_are_kept_where_a_user_has_several_items_to_find(build: Build) -> None:
    eval_args = {"split": {"RS": [0.6, 0.2, 0.2]}, "group_by": "user", "order": "TO", "mode": "full"}
    built = build("BPR", eval_args=eval_args, train_neg_sample_args={"distribution": "uniform", "sample_num": 1})
    trainer = build_trainer(built.config, built.model, built.checkpoint)
    trainer.evaluate(built.loaders.test, load_best_model=False)
    assert trainer.test_ranks(built.loaders.test) is None


def test_places_are_those_of_every_order_that_the_scores_allow() -> None:
    scores = torch.tensor([[-torch.inf, 3.0, 2.0, 2.0, 2.0, 1.0], [-torch.inf, 5.0, 4.0, 3.0, 2.0, torch.nan]])
    assert places(scores, torch.tensor([3, 5])).tolist() == [[2, 3], [0, 1]]
    assert places(scores, torch.tensor([1, 2])).tolist() == [[1, 1], [2, 1]]


@given(st.integers(0, 60), st.integers(1, 30), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_an_expected_worth_is_the_mean_over_the_places(first: int, spread: int, worth: list[float]) -> None:
    of_place = np.array([0.25, *worth])
    listed = [of_place[place] if place <= len(worth) else 0.25 for place in range(first, first + spread)]
    expected = 0.25 if first == 0 else np.mean(listed)
    assert expected_worth(np.array([[first, spread]]), of_place)[0] == pytest.approx(expected)


def evaluated(build: Build, scores: torch.Tensor, positive: torch.Tensor, **keys: object) -> dict[str, float]:
    config = build(
        "SASRec", metrics=["Recall", "NDCG", "MRR", "Hit", "Precision", "MAP"], topk=[1, 3, 8], **keys
    ).config
    collector, evaluator = LeaveOneOutCollector(config), RankKeepingEvaluator(config)
    collector.eval_batch_collect(scores.clone(), None, torch.arange(len(scores)), positive)
    return dict(evaluator.evaluate(collector.get_data_struct()))


def test_ties_count_what_they_count_on_average_over_random_orders(build: Build) -> None:
    generator = torch.Generator().manual_seed(5)
    scores = torch.randint(0, 4, (30, 20), generator=generator).float()
    scores[:, 0] = -torch.inf
    positive = torch.randint(1, 20, (30,), generator=generator)
    found = evaluated(build, scores, positive)
    broken = []
    for _ in range(400):
        noise = torch.rand(scores.shape, generator=generator) * 0.5
        broken.append(evaluated(build, scores + noise, positive))
    for metric, value in found.items():
        assert value == pytest.approx(np.mean([one[metric] for one in broken]), abs=0.02), metric
    assert found["recall@8"] != evaluated(build, scores, positive, training_samples="augmented")["recall@8"]


def test_a_model_that_scores_all_items_alike_is_worth_what_chance_is(build: Build) -> None:
    scores = torch.zeros(10, 21)
    scores[:, 0] = -torch.inf
    found = evaluated(build, scores, torch.arange(1, 11))
    assert [found[f"recall@{k}"] for k in (1, 3, 8)] == pytest.approx([1 / 20, 3 / 20, 8 / 20])


def test_augmented_leaves_ties_to_topk_as_recbole_does(build: Build) -> None:
    from recbole.evaluator.evaluator import Evaluator

    scores = torch.randint(0, 3, (20, 61)).float()
    positive = torch.randint(1, 61, (20,))
    config = build("SASRec", training_samples="augmented").config
    stock = Collector(config)
    stock.eval_batch_collect(scores.clone(), None, torch.arange(20), positive)
    ours = LeaveOneOutCollector(config)
    ours.eval_batch_collect(scores.clone(), None, torch.arange(20), positive)
    expected = Evaluator(config).evaluate(stock.get_data_struct())
    assert dict(RankKeepingEvaluator(config).evaluate(ours.get_data_struct())) == dict(expected)


def test_a_score_that_is_no_number_is_a_miss(build: Build) -> None:
    scores = torch.randn(2, 21)
    scores[0, 5] = torch.nan
    found = evaluated(build, scores, torch.tensor([5, 6]))
    assert found["recall@8"] <= 0.5
