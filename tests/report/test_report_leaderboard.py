from __future__ import annotations

import math
import statistics
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import Benchmark

from recbole_ext.records import Published, RowKey
from recbole_ext.report import write_report
from recbole_ext.report.cells import leaderboard_sheet
from recbole_ext.report.leaderboard import Leaderboard, baselines_of, costs_table, leaderboard, lines_of, places
from recbole_ext.report.results import read_results
from recbole_ext.report.significance import Comparison, Comparisons, Ratio, compare_with_baselines

OFFICE = ("Office", "full")


def board_of(benchmark: Benchmark, comparisons: Comparisons | None = None) -> Leaderboard:
    grid = benchmark.grid()
    return leaderboard(grid, read_results(benchmark.folder, grid), comparisons or Comparisons({}, {}, []))


def tested_board(benchmark: Benchmark) -> Leaderboard:
    grid = benchmark.grid()
    results = read_results(benchmark.folder, grid)
    baselines = baselines_of({result.key: result for result in results})
    return leaderboard(grid, results, compare_with_baselines(results, baselines, [grid.metric], benchmark.folder))


def lines(benchmark: Benchmark) -> list[dict[str, Any]]:
    return lines_of(board_of(benchmark).table)


def costs_of(benchmark: Benchmark) -> list[dict[str, Any]]:
    return lines_of(costs_table(read_results(benchmark.folder, benchmark.grid())))


# --- columns ---


def test_the_columns_are_those_of_the_contract_in_its_order(benchmark: Benchmark) -> None:
    benchmark.add(topk=[10, 5])
    compared = ("improvement_%", "low_%", "high_%", "p_holm", "mark")
    assert list(board_of(benchmark).table.columns) == [
        *("rank", "dataset", "model", "variant", "protocol", "mode", "vectors", "baseline"),
        *("n_seeds", "trials", "chosen", "validation", "validation_median"),
        *(
            f"{metric}{end}"
            for metric in ("recall@5", "recall@10", "ndcg@5", "ndcg@10", "mrr@5", "mrr@10")
            for end in ("", "_std", "_median")
        ),
        *(f"{metric}_{column}" for metric in ("ndcg@10", "ndcg@5", "recall@10") for column in compared),
        *("parameters", "seconds_training", "fair", "remarks", "source", "date"),
    ]


def test_a_row_is_mean_deviation_and_median_over_its_seeds(benchmark: Benchmark) -> None:
    values = [0.041, 0.044, 0.050]
    for seed, value in enumerate(values):
        benchmark.add(seed=seed, test={"ndcg@10": value})
    (line,) = lines(benchmark)
    assert line["n_seeds"] == 3
    assert line["ndcg@10"] == pytest.approx(statistics.mean(values))
    assert line["ndcg@10_std"] == pytest.approx(statistics.stdev(values))
    assert line["ndcg@10_median"] == pytest.approx(0.044)


def test_a_single_seed_has_no_standard_deviation(benchmark: Benchmark) -> None:
    benchmark.add()
    assert board_of(benchmark).table["ndcg@10_std"].isna().all()


def test_a_metric_that_some_seeds_lack_is_blank_rather_than_a_mean_over_fewer_seeds(benchmark: Benchmark) -> None:
    benchmark.add(seed=42, topk=[5, 10])
    benchmark.add(seed=43, topk=[10])
    (line,) = lines(benchmark)
    assert math.isnan(line["ndcg@5"])
    assert line["ndcg@10"] > 0


def test_each_row_says_how_many_trials_were_tried_what_was_chosen_and_the_median(benchmark: Benchmark) -> None:
    for dropout, valid in ((0.3, 0.2), (0.5, 0.4), (0.1, 0.1)):
        benchmark.add(trial={"dropout": dropout, "loss": "CE"}, validation={"ndcg@10": valid})
    (line,) = lines(benchmark)
    assert (line["trials"], line["chosen"]) == (3, "dropout=0.5, loss=CE")
    assert (line["validation"], line["validation_median"]) == (0.4, 0.2)


def test_texts_that_there_are_not_are_empty_never_missing(benchmark: Benchmark) -> None:
    """None in a column of texts would be NaN from pandas 3 on."""
    benchmark.add(failed="out of memory")
    benchmark.add(model="GRU4Rec")
    benchmark.published.append(Published(dataset="Office", model="X", protocol="full", metrics={}, source="s"))
    table = board_of(benchmark).table
    texts = ["dataset", "model", "variant", "protocol", "mode", "vectors", "baseline", "chosen", "ndcg@10_mark"]
    for column in (*texts, "remarks", "source", "date"):
        assert all(isinstance(text, str) for text in table[column]), column


# --- against the baseline ---


def test_improvement_is_over_the_row_s_own_baseline(benchmark: Benchmark) -> None:
    benchmark.add(test={"ndcg@10": 0.040})
    benchmark.add(test={"ndcg@10": 0.01}, dataset="Arts")
    benchmark.add(test={"ndcg@10": 0.01}, model="GRU4Rec")
    benchmark.add(test={"ndcg@10": 0.01}, protocol="uni100")
    benchmark.add(variant="wide", baseline=None, test={"ndcg@10": 0.080})
    benchmark.add(variant="minilm", test={"ndcg@10": 0.050})
    benchmark.add(variant="minilm-wide", baseline="wide", test={"ndcg@10": 0.060})
    board = board_of(benchmark)
    improvement = {line["variant"]: line["ndcg@10_improvement_%"] for line in lines_of(board.table)}
    assert improvement["minilm"] == pytest.approx(25.0)
    assert improvement["minilm-wide"] == pytest.approx(-25.0)
    assert board.table["ndcg@10_improvement_%"].notna().sum() == 2


def test_a_baseline_that_is_no_row_is_said(benchmark: Benchmark) -> None:
    benchmark.add(variant="minilm", model="NARM", baseline="wide")
    (line,) = lines(benchmark)
    assert math.isnan(line["ndcg@10_improvement_%"])
    assert line["remarks"] == "no row with its baseline wide"


def test_improvement_over_a_baseline_that_never_hits_is_blank(benchmark: Benchmark) -> None:
    benchmark.add(test={"ndcg@10": 0.0})
    benchmark.add(variant="minilm", test={"ndcg@10": 0.1})
    assert board_of(benchmark).table["ndcg@10_improvement_%"].isna().all()


def test_a_comparison_stands_in_its_own_row_in_per_cent_of_the_baseline(benchmark: Benchmark) -> None:
    benchmark.add(test={"ndcg@10": 0.2})
    benchmark.add(variant="minilm", test={"ndcg@10": 0.3})
    minilm = RowKey("Office", "SASRec", "minilm", "full")
    comparison = Comparison(0.1, 0.05, 0.15, Ratio(0.5, 0.25, 0.75), p=0.01, p_holm=0.02)
    board = board_of(benchmark, Comparisons({(minilm, "ndcg@10"): comparison}, {}, []))
    first, second = lines_of(board.table)
    assert (first["variant"], first["ndcg@10_p_holm"], first["ndcg@10_mark"]) == ("minilm", 0.02, "better")
    assert first["ndcg@10_improvement_%"] == pytest.approx(50)
    assert (first["ndcg@10_low_%"], first["ndcg@10_high_%"]) == pytest.approx((25, 75))
    assert math.isnan(second["ndcg@10_p_holm"]) and second["ndcg@10_mark"] == ""


def test_after_a_failed_run_of_several_tunings_the_gain_is_the_one_that_its_interval_is_around(
    benchmark: Benchmark,
) -> None:
    for seed, (store, quality) in enumerate([("a", 0.6), ("b", 0.6), ("c", 0.1), ("a", 0.6), ("b", 0.6)]):
        benchmark.add(seed=seed, quality=0.5)
        benchmark.add(variant="minilm", seed=seed, quality=quality, store_fingerprint=store * 64)
    by_variant = {line["variant"]: line for line in lines_of(tested_board(benchmark).table)}
    line, over_runs = by_variant["minilm"], by_variant["minilm"]["ndcg@10"] / by_variant["none"]["ndcg@10"] - 1
    assert line["ndcg@10_low_%"] < line["ndcg@10_improvement_%"] < line["ndcg@10_high_%"]
    assert line["ndcg@10_improvement_%"] < 100 * over_runs - 1  # a tuning has as much to say as another one of two runs


def test_why_a_row_has_no_mark_stands_among_its_remarks(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm", stopped_early=False, epoch_limit=20)
    remarks = {line["variant"]: line["remarks"] for line in lines_of(tested_board(benchmark).table)}
    assert remarks == {
        "none": "",
        "minilm": "no test: needs 3 seeds, has 1; † epoch limit",
    }


def test_only_fair_comparisons_count(benchmark: Benchmark) -> None:
    """Fair is tested, after as many trials as the baseline, and not ended by the epoch limit, on either side."""
    for seed in (42, 43, 44):
        benchmark.add(seed=seed)
        benchmark.add(variant="fair", seed=seed, quality=0.6)
        benchmark.add(variant="searched", seed=seed, quality=0.6)
        benchmark.add(variant="limited", seed=seed, quality=0.6, stopped_early=False, epoch_limit=20)
        benchmark.add(model="GRU4Rec", seed=seed, stopped_early=False, epoch_limit=20)
        benchmark.add(model="GRU4Rec", variant="to-limited", seed=seed, quality=0.6)
    benchmark.add(variant="searched", trial={"x": 1}, quality=0.1)
    benchmark.add(variant="one-seed")
    board = tested_board(benchmark)
    assert board.fair()["variant"].tolist() == ["fair"]
    assert len(board.baselines) == 5


def test_searches_of_equal_length_are_fair_where_they_tried_the_same_points(benchmark: Benchmark) -> None:
    """Keys that say nothing about the baseline, such as how vectors are attached, are not compared."""
    for seed in (42, 43, 44):
        for variant, trial in (("none", {"x": 1}), ("same", {"x": 1, "mode": "frozen"}), ("other", {"x": 1})):
            benchmark.add(variant=variant, seed=seed, trial=trial, quality=0.3 if variant == "none" else 0.6)
    for variant, trial in (("none", {"x": 2}), ("same", {"x": 2, "mode": "frozen"}), ("other", {"x": 3})):
        benchmark.add(variant=variant, trial=trial, quality=0.1)
    board = tested_board(benchmark)
    assert board.fair()["variant"].tolist() == ["same"]
    remarks = board.table.set_index("variant")["remarks"]
    assert "its search tried other points than that of none" in remarks["other"] and remarks["same"] == ""


def test_a_row_whose_entry_sets_what_its_baselines_does_not_is_no_fair_comparison(benchmark: Benchmark) -> None:
    own: dict[str, dict[str, Any]] = {"none": {"dropout": 0.5}, "same": {"dropout": 0.5}, "other": {"dropout": 0.3}}
    for seed in (42, 43, 44):
        for variant, config in own.items():
            benchmark.add(variant=variant, seed=seed, own_config=config, quality=0.3 if variant == "none" else 0.6)
    board = tested_board(benchmark)
    assert board.fair()["variant"].tolist() == ["same"]
    remarks = board.table.set_index("variant")["remarks"]
    assert remarks["other"] == "other settings than none: dropout 0.3, there 0.5" and remarks["same"] == ""


# --- order ---


def test_rows_are_ranked_by_the_grid_s_metric_within_a_dataset_and_protocol(benchmark: Benchmark) -> None:
    scores = {"none": (0.1, 0.9), "a": (0.3, 0.1), "b": (0.2, 0.5), "c": (0.3, 0.2)}
    for variant, (ndcg, mrr) in scores.items():
        benchmark.add(variant=variant, test={"ndcg@10": ndcg, "mrr@5": mrr})
    benchmark.add(dataset="Arts", test={"ndcg@10": 0.01, "mrr@5": 0.01})
    benchmark.add(variant="failed", failed="out of memory")
    found = [(line["dataset"], line["variant"], line["rank"]) for line in lines(benchmark)]
    assert found[:4] == [("Office", "a", 1), ("Office", "c", 1), ("Office", "b", 3), ("Office", "none", 4)]
    assert found[4][:2] == ("Office", "failed") and math.isnan(found[4][2])
    assert found[5] == ("Arts", "none", 1)
    benchmark.metric = "mrr@5"
    assert [line["variant"] for line in lines(benchmark)][:4] == ["none", "b", "c", "a"]


def test_where_smaller_is_better_the_smallest_is_first(benchmark: Benchmark) -> None:
    benchmark.metric = "giniindex@10"
    for variant, gini in (("none", 0.9), ("minilm", 0.8)):
        benchmark.add(variant=variant, test={"giniindex@10": gini})
    assert [line["variant"] for line in lines(benchmark)] == ["minilm", "none"]


def test_of_a_metric_of_the_user_s_own_the_runs_know_which_way_is_better(benchmark: Benchmark) -> None:
    benchmark.metric = "surprise@10"
    for variant, value in (("none", 0.9), ("minilm", 0.8)):
        changes: dict[str, Any] = {"valid_metric": "surprise@10", "config": {"valid_metric_bigger": False}}
        benchmark.add(variant=variant, test={"surprise@10": value}, **changes)
    assert [line["variant"] for line in lines(benchmark)] == ["minilm", "none"]
    sheet = leaderboard_sheet(board_of(benchmark), ["surprise@10"], [])
    (column,) = (column for column in sheet.columns if column.name == "surprise@10")
    assert [cell.place for cell in sheet.cells(column)] == [1, 2]


def test_places_are_given_within_a_dataset_and_protocol_and_shared_on_equal_display() -> None:
    table = pd.DataFrame(
        {
            "dataset": ["A"] * 6 + ["B"] * 2 + ["C"],
            "protocol": ["full"] * 5 + ["uni100", "full", "full", "full"],
            "ndcg@10": [0.2, 0.30001, 0.30002, 0.1, 0.8, 0.9, 0.1, math.nan, 0.5],
            "source": ["", "", "", "", "published", "", "", "", ""],
        }
    )
    assert places(table, "ndcg@10") == [2, 1, 1, 0, 0, 0, 0, 0, 0]
    assert places(table, "ndcg@10", -1) == [2, 0, 0, 1, 0, 0, 0, 0, 0]
    assert places(table.assign(**{"ndcg@10": 0.0}), "ndcg@10") == [0] * 9


# --- published numbers ---


def published(**changes: Any) -> Published:
    content = {"dataset": "Office", "model": "SASRec", "protocol": "full", "metrics": {"ndcg@10": 0.25}, "source": "Qu"}
    return Published(**{**content, **changes})


def test_a_published_number_stands_below_the_row_that_it_names(benchmark: Benchmark) -> None:
    for variant, value in (("none", 0.1), ("minilm", 0.3), ("tuned", 0.2)):
        benchmark.add(variant=variant, test={"ndcg@10": value})
    benchmark.published.append(published(variant="minilm", metrics={"ndcg@10": 0.05}))
    found = lines(benchmark)
    assert [(line["variant"], line["source"]) for line in found] == [
        ("minilm", ""),
        ("minilm", "Qu"),
        ("tuned", ""),
        ("none", ""),
    ]
    assert found[1]["ndcg@10"] == 0.05
    assert [line["rank"] for line in found if not line["source"]] == [1, 2, 3]
    assert math.isnan(found[1]["rank"])


def test_one_that_names_no_row_has_a_line_of_its_own_at_its_place_and_takes_no_rank(benchmark: Benchmark) -> None:
    for variant, value in (("none", 0.1), ("minilm", 0.3)):
        benchmark.add(variant=variant, test={"ndcg@10": value})
    benchmark.published += [published(model="UniSRec"), published(model="Other", variant="x", metrics={"auc": 0.7})]
    found = lines(benchmark)
    assert [line["model"] for line in found] == ["SASRec", "UniSRec", "SASRec", "Other"]
    assert [line["rank"] for line in found if not line["source"]] == [1, 2]
    assert found[3]["remarks"] == "published; also auc 0.7"


def test_a_published_gain_stands_in_the_column_of_gains(benchmark: Benchmark) -> None:
    """Such as those of "The Elephant in the Room": 21.84 % in NDCG@5 on Arts."""
    benchmark.add(dataset="Arts", test={"ndcg@5": 0.10, "ndcg@10": 0.1})
    benchmark.add(dataset="Arts", variant="finetune", test={"ndcg@5": 0.12, "ndcg@10": 0.2})
    gain = {"ndcg@5_improvement_%": 21.84}
    benchmark.published.append(published(dataset="Arts", variant="finetune", metrics=gain))
    ours, theirs, _ = lines(benchmark)
    assert (ours["ndcg@5_improvement_%"], theirs["ndcg@5_improvement_%"]) == pytest.approx((20.0, 21.84))
    assert board_of(benchmark).at_a_glance == (["ndcg@10"], ["ndcg@10", "ndcg@5"])
    told = write_report(benchmark.write()).lines()
    assert any("finetune (published)" in line and "+21.8 %" in line for line in told)


def test_a_number_of_this_project_s_own_says_so_and_is_left_out_beside_the_very_run(benchmark: Benchmark) -> None:
    record = benchmark.add()
    benchmark.published.append(published(variant="none", made="2026-11-01T10:00:00+00:00"))
    benchmark.published.append(published(variant="none", made=record.date, metrics={"ndcg@10": 0.4}))
    _, expected = lines(benchmark)
    assert (expected["ndcg@10"], expected["remarks"]) == (0.25, "expected: this project's own run")
    told = write_report(benchmark.write()).lines()
    assert any("none (expected: this project's own run)" in line for line in told)
    assert not any("(published)" in line for line in told)


def test_the_paper_s_gains_are_in_its_preset_with_their_source() -> None:
    from recbole_ext.benchmark import PRESETS, load_benchmark

    benchmark, _ = load_benchmark(PRESETS / "paper.yaml")
    gains = {number.dataset: number.metrics["ndcg@5_improvement_%"] for number in benchmark.published}
    assert gains == {"Arts": 21.84, "Instruments": 17.03, "Pantry": 19.03, "Sports": 34.29, "Movies": 12.83}
    assert all("https://arxiv.org/abs/2404.08796" in number.source for number in benchmark.published)


def test_published_numbers_stand_with_source_and_link_in_all_that_is_written(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.published.append(published(source="Qu et al., RecSys 2024, https://arxiv.org/abs/2404.08796."))
    report = write_report(benchmark.write())
    text, page = ((benchmark.folder / name).read_text() for name in ("leaderboard.md", "index.html"))
    assert "[Qu et al., RecSys 2024](https://arxiv.org/abs/2404.08796)" in text
    assert '<a href="https://arxiv.org/abs/2404.08796">Qu et al., RecSys 2024</a>' in page
    assert any("0.2500" in line and "Qu et al., RecSys 2024" in line for line in report.lines())


# --- costs ---


def test_a_model_that_is_not_trained_has_no_parameters(benchmark: Benchmark) -> None:
    one = {"total": 1, "trainable": 1, "item_embedding": 0}  # RecBole's optimiser wants one
    benchmark.add(model="NearestNeighbour", training_samples="none", parameters=one)
    (line,), (costs,) = lines(benchmark), costs_of(benchmark)
    assert math.isnan(line["parameters"])
    assert all(math.isnan(costs[name]) for name in ("parameters", "trainable", "item_embedding"))


def test_costs_are_means_over_seeds_and_milliseconds_are_per_user(benchmark: Benchmark) -> None:
    benchmark.add(seed=42, best_epoch=10, seconds={"per_epoch": 1.0, "per_evaluation": 0.6, "training": 20.0})
    benchmark.add(seed=43, best_epoch=13, seconds={"per_epoch": 2.0, "per_evaluation": 0.3, "training": 30.0})
    (line,) = costs_of(benchmark)
    assert (line["seconds_per_epoch"], line["seconds_training"], line["best_epoch"]) == (1.5, 25.0, 12.5)
    assert line["ms_per_user"] == pytest.approx(1.5)  # 0.45 s for 300 users
    assert (line["parameters"], line["trainable"], line["item_embedding"]) == (350_000, 350_000, 154_880)
    assert line["peak_memory_mb"] == 812
    assert line["seconds_to_best"] == pytest.approx(12.5 * (1.3 + 0.2))  # 11 and 14 epochs


def test_memory_is_the_accelerator_s_own_where_there_is_one(benchmark: Benchmark) -> None:
    benchmark.add(peak_memory_mb=4000.0, peak_device_memory_mb=700.0)
    (line,) = costs_of(benchmark)
    assert line["peak_memory_mb"] == 700


def test_milliseconds_are_per_user_that_validation_ranks_for(benchmark: Benchmark) -> None:
    benchmark.add(validated=30)
    cut: dict[str, Any] = {"valid_from": 1.0, "test_from": 2.0, "training_interactions": 9, "test_users": 20}
    cut |= {"new_items": 0, "new_items_are": "ranked", "new_targets": 0}
    benchmark.add(variant="earlier", temporal=cut)
    counted, earlier = costs_of(benchmark)
    assert counted["ms_per_user"] == pytest.approx(20)  # 0.6 s for 30 of the 300 users
    assert math.isnan(earlier["ms_per_user"])


def test_costs_that_a_record_does_not_hold_are_blank(benchmark: Benchmark) -> None:
    benchmark.add(seconds={"per_epoch": 1.0, "training": 20.0}, flops=None, validation={}, curve=[])
    (line,) = costs_of(benchmark)
    assert all(math.isnan(line[name]) for name in ("flops", "ms_per_user", "epochs_to_baseline"))


def test_epochs_to_the_baseline_count_until_its_best_validation_score_with_the_same_seed(benchmark: Benchmark) -> None:
    def curve(*scores: float | None) -> list[dict[str, float | None]]:
        points = enumerate(scores)
        return [{"epoch": n, "valid": valid, "train_loss": 1.0, "train_seconds": 1.0} for n, valid in points]

    benchmark.add(seed=42, curve=curve(0.1, 0.2, 0.4, 0.3))
    benchmark.add(seed=43, curve=curve(0.1, 0.5, 0.4))
    benchmark.add(variant="vanilla", seed=42, curve=curve(0.3, None, 0.4))  # equal is enough
    benchmark.add(variant="vanilla", seed=43, curve=curve(0.6))
    benchmark.add(variant="vanilla", seed=44, curve=curve(0.9))  # no run of the baseline to compare with
    benchmark.add(variant="weak", seed=42, curve=curve(0.1, 0.1))
    found = {line["variant"]: (line["epochs_to_baseline"], line["seeds_to_baseline"]) for line in costs_of(benchmark)}
    assert found["vanilla"] == (2.0, 2)
    assert math.isnan(found["weak"][0]) and found["weak"][1] == 0
    assert math.isnan(found["none"][0])
    report = write_report(benchmark.write())
    assert "2.0 (2 of 3 seeds)" in (report.folder / "leaderboard.md").read_text(encoding="utf-8")
