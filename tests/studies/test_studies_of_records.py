"""Studies that read the records a benchmark left: known fronts, known bins, and what they say where nothing is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RunRecord
from recbole_ext.records.popularity import Interactions, write_interactions
from recbole_ext.report.results import finished_results
from recbole_ext.studies import cold_start, efficiency, run_study
from recbole_ext.studies.efficiency import pareto_front, plane
from recbole_ext.studies.interaction_bins import bin_names, bin_of, by_interactions
from recbole_ext.studies.settings import read_settings

ITEM_INTERACTIONS = np.array([30, 20, 6, 5, 1, 0, 0, 0, 0, 0], dtype=np.int32)
TEST_INTERACTIONS = np.array([0, 0, 1, 5, 6, 20, 21, 30], dtype=np.int32)  # two users in each bin of 0, 5, 20
BINS = ["0", "1–5", "6–20", "more than 20"]


def add(benchmark: Benchmark, variant: str = "none", ranks: Sequence[int] = (1,) * 8, **changes: Any) -> RunRecord:
    """A finished run of eight users, with its ranks and popularity."""
    interactions = Interactions(ITEM_INTERACTIONS, TEST_INTERACTIONS)
    curve = [
        {"epoch": epoch, "train_loss": 1.0, "train_seconds": 2.0, "valid": 0.1, "valid_seconds": 0.5}
        for epoch in range(4)
    ]
    full = {"mode": {"valid": "full", "test": "full"}}
    made: dict[str, Any] = {
        "topk": [10],
        "config": {"metric_decimal_place": 4, "topk": [10], "eval_args": full},
        "popularity": write_interactions(benchmark.folder, "Office", interactions).model_dump(),
        "parameters": {"total": 100, "trainable": 90, "item_embedding": 10},
        "flops": 5.0,
        "best_epoch": 1,
        "seconds": {"per_epoch": 2.0, "training": 10.0, "per_evaluation": 0.08},
        "curve": curve,
        "peak_memory_mb": 300.0,
        **changes,
    }
    if "seconds" in changes:
        made["seconds"] = {"per_epoch": 2.0, "training": 10.0, **changes["seconds"]}
    return benchmark.add(variant=variant, ranks=np.array(ranks, dtype=np.int32), **made)


def plane_of(benchmark: Benchmark, **settings: Any) -> pd.DataFrame:
    grid, results = finished_results(benchmark.write())
    return plane(grid, results, efficiency.Settings(results=benchmark.folder, **settings))


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path / "runs" / "bench")


# --- the Pareto front ---


@pytest.mark.parametrize(
    ("cost", "quality", "front"),
    [
        ([1], [1], [True]),
        ([1, 2, 3], [1, 2, 3], [True, True, True]),
        ([1, 2, 3], [3, 2, 1], [True, False, False]),
        ([1, 2, 2, 4], [1, 3, 2, 3], [True, True, False, False]),
        ([1, 1, 1], [2, 2, 1], [True, True, False]),  # equal points stand together
        ([1, float("nan"), 3], [1, 9, float("nan")], [True, False, False]),
        ([], [], []),
    ],
)
def test_fronts_that_are_known(cost: list[float], quality: list[float], front: list[bool]) -> None:
    assert pareto_front(cost, quality).tolist() == front


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_front_is_undominated_and_dominates_all_else(points: list[tuple[int, int]]) -> None:
    def dominates(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] <= other[0] and one[1] >= other[1]

    front = pareto_front([cost for cost, _ in points], [quality for _, quality in points])
    on_it = [point for point, on in zip(points, front, strict=True) if on]
    for point, on in zip(points, front, strict=True):
        assert any(dominates(other, point) for other in on_it) != on
        assert not (on and any(dominates(other, point) for other in points))


# --- efficiency ---


def test_each_row_holds_what_its_runs_cost_and_fronts_are_of_one_dataset(bench: Benchmark) -> None:
    add(bench)
    add(bench, seed=43, ranks=[2] * 8)
    add(bench, variant="minilm", ranks=[1] * 8)
    add(bench, dataset="Arts", variant="minilm", model="BERT4Rec", ranks=[9] * 8, seconds={"per_evaluation": 8.0})
    rows = {(row["dataset"], row["variant"]): row for row in plane_of(bench).to_dict("records")}
    none = rows["Office", "none"]
    assert none["n_seeds"] == 2 and none["ndcg@10"] == pytest.approx((1 + 0.6309) / 2)
    assert none["ms_per_user"] == pytest.approx(10) and none["seconds_to_best"] == pytest.approx(2 * 2.5)
    assert (none["parameters"], none["trainable"], none["flops"], none["peak_memory_mb"]) == (100, 90, 5, 300)
    assert not none["front"] and rows["Office", "minilm"]["front"] and rows["Arts", "minilm"]["front"]


@pytest.mark.parametrize(("digits", "front"), [(2, ["minilm"]), (3, ["minilm", "none"])])
def test_costs_that_are_equal_but_for_noise_do_not_make_a_front(
    bench: Benchmark, digits: int, front: list[str]
) -> None:
    add(bench, ranks=[2] * 8, seconds={"per_evaluation": 0.0801})
    add(bench, variant="minilm", seconds={"per_evaluation": 0.0808})
    table = plane_of(bench, significant_digits=digits)
    assert table[table["front"]]["variant"].tolist() == front


def test_the_study_of_efficiency_runs_from_its_preset_to_its_files(
    bench: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench)
    add(bench, variant="minilm", ranks=[2] * 8, seconds={"per_evaluation": 0.16})
    add(bench, variant="tuned", ranks=[1] * 8, seconds={"per_evaluation": 0.16}, seed=43)
    add(bench, variant="none", ranks=[3] * 8, model="BERT4Rec", seconds={"per_evaluation": 0.04})
    bench.write()
    monkeypatch.chdir(tmp_path)
    folder = run_study("efficiency", None, {"results": str(bench.folder)}, tmp_path / "runs" / "studies", "test").folder
    written = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    front = {(row["model"], row["variant"]) for row in written["rows"] if row["front"]}
    assert front == {("BERT4Rec", "none"), ("SASRec", "none")}
    assert "best is SASRec, none (1.0000 at 10.000); the dearest, " in written["sentence"]
    assert "costs 2 times that" in written["sentence"]
    text = (folder / "text.md").read_text(encoding="utf-8")
    assert "on the front: BERT4Rec, none (0.5000 at 5.000), SASRec, none (1.0000 at 10.000)\n" in text
    assert text.count("| ● |") == 2 and "| Office | SASRec | minilm | full | 1 | 0.6309 |" in text
    assert (folder / "efficiency.png").is_file()
    page = (tmp_path / "runs" / "index.html").read_text(encoding="utf-8")
    assert "What accuracy costs" in page and "costs 2 times that" in page


def test_where_smaller_is_better_the_front_and_the_best_are_of_the_smallest(bench: Benchmark) -> None:
    add(bench, test={"rmse": 0.9})
    add(bench, variant="minilm", test={"rmse": 0.7}, seconds={"per_evaluation": 0.16})
    add(bench, variant="worse", test={"rmse": 0.95}, seconds={"per_evaluation": 0.16})
    table = plane_of(bench, metric="rmse")
    assert set(table[table["front"]]["variant"]) == {"none", "minilm"}
    findings = efficiency.run(efficiency.Settings(results=bench.folder, metric="rmse"), "test")
    assert "best is SASRec, minilm (0.7000 at 20.000)." in findings.sentence


def test_what_costs_nothing_is_drawn_and_told_without_a_ratio(bench: Benchmark) -> None:
    add(bench, flops=0.0)
    add(bench, variant="minilm", ranks=[2] * 8, flops=5.0)
    add(bench, variant="tuned", ranks=[3] * 8, flops=5e3)
    bench.write()
    findings = efficiency.run(efficiency.Settings(results=bench.folder, cost="flops"), "test")
    assert findings.sentence.endswith(
        "best is SASRec, none (1.0000 at 0); the dearest is SASRec, tuned (0.5000 at 5,000)."
    )
    axis = findings.figures["efficiency"].axes[0]
    assert axis.get_xscale() == "symlog" and axis.get_xlim()[0] <= 0


def test_without_finished_records_the_error_names_the_folder_and_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing/grid.json: no such file.*recbole-ext run"):
        efficiency.run(efficiency.Settings(results=tmp_path / "nothing"), "test")


def test_a_metric_or_cost_that_no_run_has_is_named(bench: Benchmark) -> None:
    add(bench, flops=None)
    with pytest.raises(ConfigurationError, match="mrr@3; they have recall@10, ndcg@10"):
        plane_of(bench, metric="mrr@3")
    with pytest.raises(ConfigurationError, match="cost: .*flops"):
        plane_of(bench, cost="flops")


# --- cold start ---


def test_bins_end_with_their_edges() -> None:
    assert bin_names([0, 5, 20]) == BINS and bin_names([2]) == ["0–2", "more than 2"]
    assert bin_of(TEST_INTERACTIONS, [0, 5, 20]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_means_and_changes_are_those_of_the_bin_s_users(bench: Benchmark) -> None:
    add(bench, ranks=[0, 0, 0, 1, 1, 1, 1, 1])
    add(bench, variant="minilm", mode="frozen", ranks=[1, 0, 1, 1, 0, 1, 2, 2])
    add(bench, variant="minilm", mode="frozen", ranks=[1, 1, 1, 1, 0, 1, 2, 2], seed=43)
    table, notes = by_interactions([bench.write()], ["ndcg@10", "recall@10"], [0, 5, 20])
    none, frozen = (table[table["variant"] == variant].set_index("bin") for variant in ("none", "minilm"))
    assert notes == [] and none["n_users"].tolist() == frozen["n_users"].tolist() == [2, 2, 2, 2]
    assert none["recall@10"].to_dict() == dict(zip(BINS, [0, 0.5, 1, 1], strict=True))
    assert frozen["recall@10"].to_dict() == dict(zip(BINS, [0.75, 1, 0.5, 1], strict=True))
    assert frozen["ndcg@10"].tolist() == pytest.approx([0.75, 1, 0.5, 1 / np.log2(3)])
    # there is no change over nothing, and a baseline has none over itself
    assert frozen["recall@10_change_%"].tolist() == pytest.approx([np.nan, 100, -50, 0], nan_ok=True)
    assert none["recall@10_change_%"].isna().all()
    assert frozen["from_store"].all() and not none["from_store"].any() and set(frozen["n_seeds"]) == {2}
    assert none["is_random"].all() and not frozen["is_random"].any()
    assert frozen["recall@10_random"].tolist() == [1.0] * 4  # of ten items all are among the first ten


def test_each_row_is_compared_with_its_own_baseline(bench: Benchmark) -> None:
    add(bench, ranks=[1] * 8)
    add(bench, variant="wide", baseline=None, ranks=[0, 1] * 4)
    add(bench, variant="tuned", baseline="wide", ranks=[1] * 8)
    table, _ = by_interactions([bench.write()], ["recall@10"], [0, 5, 20])
    assert table[table["variant"] == "tuned"]["recall@10_change_%"].tolist() == [100] * 4


def test_two_folders_of_one_benchmark_s_name_are_no_more_seeds_and_one_named_twice_counts_once(
    bench: Benchmark, tmp_path: Path
) -> None:
    add(bench)
    other = Benchmark(tmp_path / "results" / "bench")
    add(other, ranks=[2] * 8)
    folders = [bench.write(), other.write(), tmp_path / "runs" / ".." / "runs" / "bench"]
    table, notes = by_interactions(folders, ["mrr@10"], [0])
    assert notes == [] and set(table["n_seeds"]) == {1} and len(table) == 4
    assert table.groupby("results")["mrr@10"].first().to_dict() == {str(folders[2]): 1.0, str(folders[1]): 0.5}


@pytest.mark.parametrize(
    "config",
    [
        {"eval_args": {"mode": {"valid": "uni100", "test": "uni100"}}},
        {"eval_args": {"mode": {"valid": "full", "test": "full"}}, "rank_seen_items": False},
    ],
    ids=["sampled", "without what users have had"],
)
def test_where_not_all_items_are_ranked_there_is_no_random_order_to_compare_with(
    bench: Benchmark, config: dict[str, Any]
) -> None:
    add(bench, config={"topk": [10], **config})
    table, _ = by_interactions([bench.write()], ["recall@10"], [0, 5, 20])
    assert table["recall@10_random"].isna().all()


def test_the_study_of_cold_start_says_how_unseen_items_rank(bench: Benchmark, tmp_path: Path) -> None:
    add(bench, ranks=[0, 0, 0, 1, 1, 1, 1, 1])
    add(bench, variant="kept", mode="frozen", ranks=[1, 1, 1, 1, 0, 1, 2, 2])
    add(bench, variant="minilm", mode="full", ranks=[1, 0, 1, 1, 0, 1, 2, 2])
    bench.write()
    overrides = {"results": [str(bench.folder), str(bench.folder.with_name("study-freezing"))]}
    folder = run_study("cold-start", None, overrides, tmp_path / "studies", "test").folder
    written = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert written["sentence"].endswith(
        "Office (2 users): 1.0000 (SASRec, kept) from the store alone, 0.5000 (SASRec, minilm) otherwise, "
        "0.4544 in random order."
    )
    (note,) = written["notes"]
    assert "study-freezing/grid.json: no such file" in note
    text = (folder / "text.md").read_text(encoding="utf-8")
    assert (
        "2 of 8 test users have an item never seen in training; scored from the store alone they reach 1.0000 (SASRec, "
        "kept) at best; with vectors that training moved they reach 0.5000 (SASRec, minilm) at best; with random "
        "vectors they reach 0.0000 (SASRec, none) at best"
    ) in text
    assert "+100.0 %, of SASRec, kept at 1–5 interactions" in text
    assert "| SASRec, kept | ● | 1 | 1.0000 | 1.0000 (+100.0 %) | 0.5000 (-50.0 %) |" in text
    assert (folder / "cold-start.png").is_file()


def test_what_trains_nothing_is_from_the_store_with_vectors_and_of_no_vectors_without(bench: Benchmark) -> None:
    untrained = {"total": 1, "trainable": 1, "item_embedding": 0}
    add(bench)
    add(bench, model="LastItem", parameters=untrained)
    add(bench, model="TransitionGraph", parameters=untrained)
    add(bench, model="TransitionGraph", variant="minilm", parameters=untrained)
    table, _ = by_interactions([bench.write()], ["recall@10"], [0, 5, 20])
    of_row = table[table["bin"] == "0"].set_index(["model", "variant"])[["from_store", "learns", "is_random"]]
    assert of_row.T.to_dict("list") == {
        ("SASRec", "none"): [False, True, True],
        ("LastItem", "none"): [False, False, False],
        ("TransitionGraph", "none"): [False, False, False],
        ("TransitionGraph", "minilm"): [True, False, False],
    }
    findings = cold_start.run(read_settings(cold_start.Settings, "cold-start", None, {"results": [bench.folder]}), "")
    assert "with random vectors they reach 1.0000 (SASRec, none) at best" in findings.text
    assert "without vectors or training they reach 1.0000 (LastItem, none) at best" in findings.text


def test_runs_with_several_test_items_per_user_are_left_out_and_named(bench: Benchmark) -> None:
    add(bench, popularity=None, test={"hit@10": 1.0})
    with pytest.raises(ConfigurationError, match="1 runs, such as .*several test items per user"):
        by_interactions([bench.write()], ["ndcg@10"], [0, 5, 20])


@pytest.mark.parametrize("metric", ["ndcg@20", "auc"])
def test_a_metric_that_the_kept_ranks_do_not_decide_is_refused(bench: Benchmark, metric: str) -> None:
    add(bench)
    with pytest.raises(ConfigurationError, match=f"metrics: {metric} does not follow from the ranks .*end at 10"):
        by_interactions([bench.write()], ["recall@10", metric], [0, 5, 20])


@pytest.mark.parametrize("edges", [[5, 5], [-1, 3], [], [5, 0]])
def test_edges_that_do_not_ascend_are_refused(edges: list[int]) -> None:
    with pytest.raises(ConfigurationError, match="edges"):
        read_settings(cold_start.Settings, "cold-start", None, {"edges": edges})
