"""Results by popularity: the groups' definition, agreement with the leaderboard, and what the documents show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import ITEM_INTERACTIONS, Benchmark

from recbole_ext.records import RowKey
from recbole_ext.report import LeaderboardReport, write_report
from recbole_ext.report.leaderboard import lines_of
from recbole_ext.report.popularity import GROUPS, Popularity, by_popularity
from recbole_ext.report.results import read_results


def report_of(benchmark: Benchmark) -> LeaderboardReport:
    return write_report(benchmark.write())


# --- groups ---


def test_groups_are_thirds_of_the_training_interactions() -> None:
    popularity = Popularity.of(ITEM_INTERACTIONS, np.array([9, 3, 2, 1, 0]))
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


# --- the leaderboard ---


def test_columns_follow_the_leaderboard_s_own(benchmark: Benchmark) -> None:
    benchmark.add(popularity=None, test={"ndcg@10": 0.1, "recall@10": 0.2})
    without = list(report_of(benchmark).to_pandas().columns)
    benchmark.add(seed=43)
    benchmark.rows.clear()
    benchmark.add(test={"ndcg@10": 0.1, "recall@10": 0.2}, with_ranks=False)
    benchmark.add(variant="minilm", topk=[10])
    table = report_of(benchmark).to_pandas()
    added = [f"{metric}_{group}" for metric in ("ndcg@10", "recall@10") for group in GROUPS]
    assert [column for column in table.columns if column in added] == added
    assert list(table.columns)[-8:] == added and "ndcg@10_head" not in without
    assert list(pd.read_csv(benchmark.folder / "leaderboard.csv").columns) == list(table.columns)


@given(
    ranks=st.lists(st.integers(0, 400), min_size=2, max_size=30),
    topk=st.sampled_from([[20, 400], [10, 400], [5, 10]]),
    popular=st.lists(st.sampled_from([0, 1, 2, 3, 9]), min_size=30, max_size=30),
)
@settings(max_examples=40, deadline=None)
def test_the_groups_weighted_by_their_users_give_the_whole(
    tmp_path_factory: pytest.TempPathFactory, ranks: list[int], topk: list[int], popular: list[int]
) -> None:
    """Whatever the largest cutoff: in 8 bits rank 257 counted as 1."""
    benchmark = Benchmark(tmp_path_factory.mktemp("run"))
    kept = np.array([rank if rank <= max(topk) else 0 for rank in ranks], dtype=np.int32)
    users = len(kept)
    record = benchmark.add(ranks=kept, topk=topk, test_interactions=np.array(popular[:users]))
    metrics = list(record.done.test)
    found = by_popularity(read_results(benchmark.folder, benchmark.grid()), metrics, benchmark.folder)
    ((_, popularity),) = found.splits.items()
    share = np.bincount(popularity.of_user, minlength=4) / users
    row = found.rows[RowKey("Office", "SASRec", "none", "full")]
    for metric in metrics:
        parts = [row[f"{metric}_{group}"] * share[n] for n, group in enumerate(GROUPS) if share[n]]
        assert sum(parts) == pytest.approx(record.done.test[metric], abs=6e-5)


def test_a_group_without_test_users_is_not_a_number(benchmark: Benchmark) -> None:
    benchmark.add(test_interactions=np.full(benchmark.users, 9))
    (line,) = lines_of(report_of(benchmark).to_pandas())
    assert line["ndcg@10_head"] == pytest.approx(line["ndcg@10"], abs=1e-4)
    assert all(math.isnan(line[f"ndcg@10_{group}"]) for group in ("middle", "tail", "unseen"))


def test_a_row_of_which_some_seeds_kept_nothing_stays_empty(benchmark: Benchmark) -> None:
    """A mean over fewer seeds would not be the leaderboard's."""
    for seed in (42, 43):
        benchmark.add(seed=seed)
        benchmark.add(variant="minilm", seed=seed, with_ranks=seed == 42)
    lines = {line["variant"]: line for line in lines_of(report_of(benchmark).to_pandas())}
    assert not math.isnan(lines["none"]["ndcg@10_head"]) and math.isnan(lines["minilm"]["ndcg@10_head"])


def test_both_documents_show_it_and_the_gain_over_the_baseline(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm", quality=0.5)
    lines = {line["variant"]: line for line in lines_of(report_of(benchmark).to_pandas())}
    gain = f"{100 * (lines['minilm']['ndcg@10_tail'] / lines['none']['ndcg@10_tail'] - 1):+.1f}"
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
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "can't be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:80] + bytes(40) + path.read_bytes()[120:]), "can't be read"),
        (lambda path: path.write_bytes(path.with_name("other.npz").read_bytes()), "is not the file"),
    ],
)
def test_a_file_that_is_not_the_run_s_is_told_and_left_out(benchmark: Benchmark, damage: Any, message: str) -> None:
    benchmark.add()
    (named,) = (benchmark.folder / "popularity").iterdir()
    other: Path = benchmark.folder / benchmark.popularity("Office", 300, np.zeros(300))["file"]
    other.rename(other.with_name("other.npz"))
    damage(named)
    report = report_of(benchmark)
    assert "ndcg@10_head" not in report.to_pandas()
    assert any(message in note and "Left out of the results by popularity" in note for note in report.notes)


def test_ranks_of_other_users_are_told_and_left_out(benchmark: Benchmark) -> None:
    benchmark.add(popularity=benchmark.popularity("Office", benchmark.users + 1))
    report = report_of(benchmark)
    assert any("300 ranks, but 301 test users" in note for note in report.notes)
