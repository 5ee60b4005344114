from __future__ import annotations

import math
import statistics
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import Benchmark

from recbole_ext.report import write_report
from recbole_ext.report.leaderboard import costs_table, headline_metrics, leaderboard_table, places
from recbole_ext.report.records import GROUP_KEYS, load_records
from recbole_ext.report.significance import Comparison


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]


def table_of(benchmark: Benchmark) -> pd.DataFrame:
    return leaderboard_table(load_records(benchmark.folder), {})


def test_the_columns_are_those_of_the_contract_in_its_order(benchmark: Benchmark) -> None:
    benchmark.add(topk=[10, 5])
    assert list(table_of(benchmark).columns) == [
        *("dataset", "model", "init", "mode", "protocol", "n_seeds"),
        *("recall@5", "recall@5_std", "recall@10", "recall@10_std"),
        *("ndcg@5", "ndcg@5_std", "ndcg@10", "ndcg@10_std"),
        *("mrr@5", "mrr@5_std", "mrr@10", "mrr@10_std"),
        *("ndcg@5_improvement_%", "ndcg@10_improvement_%", "recall@10_improvement_%"),
        *("p_holm", "mark"),
    ]


def test_cutoffs_are_ordered_as_numbers_and_other_metrics_come_last(benchmark: Benchmark) -> None:
    benchmark.add(test={"hit@10": 0.1, "mrr@5": 0.1, "ndcg@20": 0.1, "ndcg@5": 0.1, "ndcg@100": 0.1})
    metrics = [c for c in table_of(benchmark).columns if "@" in c and not c.endswith(("_std", "%"))]
    assert metrics == ["ndcg@5", "ndcg@20", "ndcg@100", "mrr@5", "hit@10"]


def test_a_row_is_the_mean_and_the_sample_standard_deviation_over_its_seeds(benchmark: Benchmark) -> None:
    values = [0.041, 0.044, 0.050]
    for seed, value in enumerate(values):
        benchmark.add(seed=seed, test={"ndcg@10": value})
    (row,) = rows_of(table_of(benchmark))
    assert row["n_seeds"] == 3
    assert row["ndcg@10"] == pytest.approx(statistics.mean(values))
    assert row["ndcg@10_std"] == pytest.approx(statistics.stdev(values))


def test_a_single_seed_has_no_standard_deviation(benchmark: Benchmark) -> None:
    benchmark.add()
    assert table_of(benchmark)["ndcg@10_std"].isna().all()


def test_a_metric_that_some_seeds_lack_is_blank_rather_than_a_mean_over_fewer_seeds(
    benchmark: Benchmark,
) -> None:
    benchmark.add(seed=42, topk=[5, 10])
    benchmark.add(seed=43, topk=[10])
    (row,) = rows_of(table_of(benchmark))
    assert math.isnan(row["ndcg@5"])
    assert row["ndcg@10"] > 0


def test_improvement_is_over_none_of_the_same_dataset_model_and_protocol(benchmark: Benchmark) -> None:
    benchmark.add(test={"ndcg@10": 0.040})
    benchmark.add(test={"ndcg@10": 0.01}, dataset="Arts")
    benchmark.add(test={"ndcg@10": 0.01}, model="GRU4Rec")
    benchmark.add(test={"ndcg@10": 0.01}, protocol="uni100")
    benchmark.add(init="minilm", test={"ndcg@10": 0.050})
    benchmark.add(init="minilm", mode="frozen", test={"ndcg@10": 0.030})
    benchmark.add(init="minilm", model="NARM", test={"ndcg@10": 0.030})
    table = table_of(benchmark).set_index(["dataset", "model", "init", "mode", "protocol"])
    improvement = table["ndcg@10_improvement_%"]
    assert improvement["Office", "SASRec", "minilm", "full", "full"] == pytest.approx(25.0)
    assert improvement["Office", "SASRec", "minilm", "frozen", "full"] == pytest.approx(-25.0)
    assert improvement.notna().sum() == 2  # neither `none` itself nor a row without a partner has one


def test_improvement_over_a_none_that_never_hits_is_blank(benchmark: Benchmark) -> None:
    benchmark.add(test={"ndcg@10": 0.0})
    benchmark.add(init="minilm", test={"ndcg@10": 0.1})
    assert table_of(benchmark)["ndcg@10_improvement_%"].isna().all()


def test_improvement_falls_back_to_the_cutoffs_there_are(benchmark: Benchmark) -> None:
    benchmark.add(topk=[20])
    columns = [c for c in table_of(benchmark).columns if c.endswith("improvement_%")]
    assert columns == ["ndcg@20_improvement_%", "recall@20_improvement_%"]


def test_a_comparison_stands_in_its_own_row(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(init="minilm")
    group = ("Office", "SASRec", "minilm", "full", "full")
    table = leaderboard_table(load_records(benchmark.folder), {group: Comparison(0.1, 5.0, 0.01, 0.02)})
    none, minilm = rows_of(table)
    assert (minilm["init"], minilm["p_holm"], minilm["mark"]) == ("minilm", 0.02, "better")
    assert math.isnan(none["p_holm"])
    assert none["mark"] is None


def test_places_are_given_within_a_dataset_and_protocol_and_shared_on_equal_display() -> None:
    table = pd.DataFrame(
        {
            "dataset": ["A"] * 5 + ["B"] * 2 + ["C"],
            "protocol": ["full"] * 4 + ["uni100", "full", "full", "full"],
            "ndcg@10": [0.2, 0.30001, 0.30002, 0.1, 0.9, 0.1, math.nan, 0.5],
        }
    )
    assert places(table, "ndcg@10") == [2, 1, 1, 0, 0, 0, 0, 0]


def test_the_headline_is_at_ten_or_the_nearest_cutoff() -> None:
    def headline(*metrics: str) -> list[str]:
        return headline_metrics(pd.DataFrame(columns=[c for m in metrics for c in (m, f"{m}_std")]))

    assert headline("recall@5", "recall@10", "ndcg@1", "ndcg@10", "mrr@10") == [
        "ndcg@10",
        "recall@10",
        "mrr@10",
    ]
    assert headline("ndcg@1", "ndcg@20", "ndcg@50") == ["ndcg@20"]
    assert headline("auc") == ["auc"]


def test_costs_are_means_over_seeds_and_milliseconds_are_per_user(benchmark: Benchmark) -> None:
    benchmark.add(seed=42, best_epoch=10, seconds={"per_epoch": 1.0, "per_evaluation": 0.6, "training": 20.0})
    benchmark.add(seed=43, best_epoch=13, seconds={"per_epoch": 2.0, "per_evaluation": 0.3, "training": 30.0})
    (row,) = rows_of(costs_table(load_records(benchmark.folder)))
    assert (row["seconds_per_epoch"], row["seconds_training"], row["best_epoch"]) == (1.5, 25.0, 11.5)
    assert row["ms_per_user"] == pytest.approx(1.5)  # 0.45 s for 300 users
    assert (row["parameters"], row["trainable"], row["item_embedding"]) == (350_000, 350_000, 154_880)
    assert row["peak_memory_mb"] == 812
    assert row["seconds_to_best"] == pytest.approx(12.5 * (1.3 + 0.2))  # 11 and 14 epochs


def test_costs_that_a_record_does_not_hold_are_blank(benchmark: Benchmark) -> None:
    benchmark.add(
        seconds=None, parameters={}, dataset_statistics=None, peak_memory_mb=None, best_epoch=None, flops=None
    )
    (row,) = rows_of(costs_table(load_records(benchmark.folder)))
    assert row.pop("seeds_to_none") == 1  # its own best
    del row["epochs_to_none"]
    assert all(math.isnan(value) for name, value in row.items() if name not in GROUP_KEYS)


def test_epochs_to_none_count_until_the_best_validation_score_of_the_same_seed(benchmark: Benchmark) -> None:
    def curve(*scores: float) -> list[dict[str, float]]:
        return [{"epoch": epoch, "valid": valid} for epoch, valid in enumerate(scores)]

    benchmark.add(seed=42, curve=curve(0.1, 0.2, 0.4, 0.3))
    benchmark.add(seed=43, curve=curve(0.1, 0.5, 0.4))
    benchmark.add(init="vanilla", seed=42, curve=curve(0.3, 0.4))  # equal is enough
    benchmark.add(init="vanilla", seed=43, curve=curve(0.6))
    benchmark.add(init="vanilla", seed=44, curve=curve(0.9))  # no run with `none` to compare with
    benchmark.add(init="weak", seed=42, curve=curve(0.1, 0.1))
    rows = rows_of(costs_table(load_records(benchmark.folder)))
    found = {row["init"]: (row["epochs_to_none"], row["seeds_to_none"]) for row in rows}
    assert (found["none"], found["vanilla"]) == ((2.5, 2), (1.5, 2))
    assert math.isnan(found["weak"][0]) and found["weak"][1] == 0
    report = write_report(benchmark.folder)
    assert "1.5 (2 of 3 seeds)" in (report.folder / "leaderboard.md").read_text(encoding="utf-8")
