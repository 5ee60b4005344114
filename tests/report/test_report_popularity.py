"""Results by popularity: the groups' definition, RecBole's own numbers from ranks, and what the documents show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Benchmark

from recbole_ext.data.fingerprints import popularity_fingerprint
from recbole_ext.errors import ConfigurationError
from recbole_ext.report import write_report
from recbole_ext.report.popularity import GROUPS, Popularity, load_popularity
from recbole_ext.report.ranks import metric_of_ranks

ITEMS = np.array([9, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0], dtype=np.int32)  # 27 training interactions


def with_popularity(benchmark: Benchmark, interactions: Any = None) -> dict[str, str]:
    """Write a popularity file for the benchmark's users; returns what records say of it."""
    if interactions is None:
        interactions = np.random.default_rng(3).choice(ITEMS, benchmark.users)
    arrays: dict[str, Any] = {"item_interactions": ITEMS, "test_interactions": np.asarray(interactions, dtype=np.int32)}
    digest = popularity_fingerprint(**arrays)
    path = benchmark.folder / "popularity" / f"Office-{digest[:8]}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return {"file": f"popularity/{path.name}", "sha256": digest}


# --- groups ---


def test_groups_are_thirds_of_the_training_interactions() -> None:
    popularity = Popularity.of(ITEMS, np.array([9, 3, 2, 1, 0]))
    # More popular than the 9: nothing. Than the 3s: 9 of 27, a third. Than the 2s: 18 of 27, two thirds.
    assert [GROUPS[group] for group in popularity.of_user] == ["head", "middle", "tail", "tail", "unseen"]
    assert popularity.items == [1, 3, 6, 2]
    assert popularity.interactions == [9, 9, 9, 0]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_the_more_popular_item_is_never_in_a_lesser_group(counts: list[int]) -> None:
    items = np.array(counts)
    group = Popularity.of(items, items).of_user
    order = np.argsort(-items, kind="stable")
    assert (np.diff(group[order]) >= 0).all()
    assert ((group == GROUPS.index("unseen")) == (items == 0)).all()
    for count in set(counts):
        assert len(set(group[items == count])) == 1
    if items.sum():
        assert group[order[0]] == 0


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_what_is_more_popular_than_a_group_holds_as_much_as_its_definition_says(counts: list[int]) -> None:
    items = np.array(counts)
    for count, group in zip(items, Popularity.of(items, items).of_user, strict=True):
        share = items[items > count].sum() * 3
        assert group == (0 if share < items.sum() else 1 if share < 2 * items.sum() else 2)


# --- metrics ---


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
    assert metric_of_ranks(metric, ranks) == pytest.approx(result[:, 4])


@pytest.mark.parametrize("metric", ["map@5", "ndcg", "auc"])
def test_a_metric_that_ranks_do_not_decide_is_refused(metric: str) -> None:
    with pytest.raises(ConfigurationError, match=metric):
        metric_of_ranks(metric, np.array([1]))


# --- the leaderboard ---


def test_columns_follow_the_leaderboard_s_own(benchmark: Benchmark) -> None:
    benchmark.add()
    without = list(write_report(benchmark.folder).table.columns)
    named = with_popularity(benchmark)
    benchmark.add(popularity=named)
    table = write_report(benchmark.folder).table
    added = [f"{metric}_{group}" for metric in ("ndcg@10", "recall@10") for group in GROUPS]
    assert list(table.columns) == without + added
    assert list(pd.read_csv(benchmark.folder / "leaderboard.csv").columns) == without + added


def test_the_groups_weighted_by_their_users_give_the_whole(benchmark: Benchmark) -> None:
    named = with_popularity(benchmark)
    for seed in (42, 43):
        benchmark.add(seed=seed, popularity=named)
        benchmark.add(init="minilm", seed=seed, quality=0.5, popularity=named)
    popularity = load_popularity(benchmark.folder, {"run": "x", "popularity": named})
    assert popularity is not None
    share = np.bincount(popularity.of_user, minlength=4) / benchmark.users
    for row in write_report(benchmark.folder).table.to_dict("records"):
        for metric in ("ndcg@10", "recall@10"):
            parts = sum(row[f"{metric}_{group}"] * share[number] for number, group in enumerate(GROUPS))
            assert parts == pytest.approx(row[metric], abs=1e-4)


def test_a_group_without_test_users_is_not_a_number(benchmark: Benchmark) -> None:
    benchmark.add(popularity=with_popularity(benchmark, np.full(benchmark.users, 9)))
    (row,) = write_report(benchmark.folder).table.to_dict("records")
    assert row["ndcg@10_head"] == pytest.approx(row["ndcg@10"], abs=1e-4)
    assert all(math.isnan(row[f"ndcg@10_{group}"]) for group in ("middle", "tail", "unseen"))


def test_rows_without_popularity_stay_empty(benchmark: Benchmark) -> None:
    benchmark.add(popularity=with_popularity(benchmark))
    benchmark.add(init="minilm")
    none, minilm = write_report(benchmark.folder).table.to_dict("records")
    assert not math.isnan(none["ndcg@10_head"]) and math.isnan(minilm["ndcg@10_head"])


def test_both_documents_show_it_and_the_gain_over_none(benchmark: Benchmark) -> None:
    named = with_popularity(benchmark)
    benchmark.add(popularity=named)
    benchmark.add(init="minilm", quality=0.5, popularity=named)
    none, minilm = write_report(benchmark.folder).table.to_dict("records")
    gain = f"{100 * (minilm['ndcg@10_tail'] / none['ndcg@10_tail'] - 1):+.1f}"
    for name in ("leaderboard.md", "index.html"):
        text = (benchmark.folder / name).read_text(encoding="utf-8")
        assert "By popularity of the test item" in text
        assert f"({gain} %)" in text
        assert "less than a third of the training interactions" in text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "can't be read"),
        (lambda path: path.write_bytes(b"no zip"), "can't be read"),
        (lambda path: path.write_bytes(path.with_name("other.npz").read_bytes()), "is not the file"),
    ],
)
def test_a_file_that_is_not_the_run_s_is_told_and_left_out(benchmark: Benchmark, damage: Any, message: str) -> None:
    named = with_popularity(benchmark)
    other = benchmark.folder / with_popularity(benchmark, np.zeros(benchmark.users))["file"]
    other.rename(other.with_name("other.npz"))
    benchmark.add(popularity=named)
    damage(benchmark.folder / named["file"])
    report = write_report(benchmark.folder)
    assert "ndcg@10_head" not in report.table
    assert any(message in note and "Left out of the results by popularity" in note for note in report.notes)


def test_ranks_of_other_users_are_told_and_left_out(benchmark: Benchmark) -> None:
    benchmark.add(popularity=with_popularity(benchmark, np.full(benchmark.users + 1, 9)))
    report = write_report(benchmark.folder)
    assert any("300 ranks, but 301 test users" in note for note in report.notes)
