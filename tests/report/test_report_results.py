"""Rows are those that the grid asks for, whatever became of their runs; its choice is what validation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, Row, RowKey, record_path
from recbole_ext.report.results import Result, finished_results, read_results

NONE = RowKey("Office", "SASRec", "none", "full")


def result_of(benchmark: Benchmark) -> Result:
    (result,) = read_results(benchmark.folder, benchmark.grid())
    return result


def grid_with(benchmark: Benchmark, **changes: object) -> Grid:
    """The grid with its only row changed."""
    grid = benchmark.grid()
    return grid.model_copy(update={"rows": [Row(**{**grid.rows[0].model_dump(), **changes})]})


def test_a_complete_row_has_its_runs_by_seed_and_nothing_to_say(benchmark: Benchmark) -> None:
    for seed in (44, 42, 43):
        benchmark.add(seed=seed)
    result = result_of(benchmark)
    assert [record.seed for record in result.runs] == [42, 43, 44]
    assert (result.state, result.failed, result.at_limit) == ("", [], 0)


def test_of_the_search_only_the_chosen_trial_s_runs_are_the_row_s(benchmark: Benchmark) -> None:
    for dropout, valid in ((0.3, 0.2), (0.5, 0.4), (0.1, 0.1)):
        benchmark.add(trial={"dropout": dropout}, validation={"ndcg@10": valid})
    benchmark.add(trial={"dropout": 0.5}, seed=43)
    result = result_of(benchmark)
    assert [(record.trial["dropout"], record.seed) for record in result.runs] == [(0.5, 42), (0.5, 43)]
    assert result.chosen is not None and result.chosen.trial == {"dropout": 0.5}
    assert (len(result.search), result.median_of_search) == (3, 0.2)


@pytest.mark.parametrize(
    "changes",
    [
        {"tested": 20},
        {
            "temporal": {
                "valid_from": 1.0,
                "test_from": 2.0,
                "training_interactions": 9,
                "test_users": 20,
                "new_items": 0,
                "new_items_are": "ranked",
                "new_targets": 0,
            }
        },
    ],
    ids=["counted", "earlier record of a cut in time"],
)
def test_the_share_of_ties_is_of_the_items_tested_not_of_all_users(benchmark: Benchmark, changes: Any) -> None:
    benchmark.add(tied=2, **changes)
    assert result_of(benchmark).ties_in_words.startswith("10 % of the test items tie with others")


def test_records_that_the_grid_does_not_ask_for_count_for_nothing(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(seed=43, quality=0.9, asked=False, date="2027-01-01")
    benchmark.add(seed=44, asked=False, failed="of an earlier setting")
    (benchmark.folder / "runs" / "old.json").write_text('{"init": "none"}')
    result = result_of(benchmark)
    assert [record.seed for record in result.runs] == [42] and result.failed == []


@pytest.mark.parametrize(
    ("failed", "asked", "state"),
    [
        ((), 1, "not run yet"),
        ((42,), 0, "failed: out of memory"),
        ((43,), 0, "1 of 2 seeds, failed: out of memory"),
        ((43,), 2, "1 of 4 seeds, failed: out of memory"),
    ],
)
def test_what_is_missing_or_failed_is_said(
    benchmark: Benchmark, failed: tuple[int, ...], asked: int, state: str
) -> None:
    if failed and 42 not in failed:
        benchmark.add(seed=42)
    for seed in failed:
        benchmark.add(seed=seed, failed="out\n of memory")
    if asked:
        benchmark.ask(NONE, [f"nobody-{number}" for number in range(asked)])
    assert result_of(benchmark).state == state


def test_trials_that_did_not_finish_are_said(benchmark: Benchmark) -> None:
    for dropout in (0.3, 0.5):
        benchmark.add(trial={"dropout": dropout})
    benchmark.add(trial={"dropout": 0.1}, failed="loss is NaN")
    assert result_of(benchmark).state == "2 of 3 trials, failed: loss is NaN"


def test_before_anything_is_chosen_a_row_says_that(benchmark: Benchmark) -> None:
    record = benchmark.add()
    (result,) = read_results(benchmark.folder, grid_with(benchmark, chosen=None, runs=[]))
    assert (result.runs, result.state) == ([], "nothing chosen yet")
    assert [found.run for found in result.search] == [record.run]


def test_runs_that_the_epoch_limit_ended_are_counted(benchmark: Benchmark) -> None:
    for seed, early in ((42, True), (43, False), (44, False)):
        benchmark.add(seed=seed, stopped_early=early, epoch_limit=5)
    assert result_of(benchmark).at_limit == 2


# --- a grid that contradicts its records ---


def test_a_choice_that_validation_does_not_make_is_refused(benchmark: Benchmark) -> None:
    good = benchmark.add(trial={"x": 1}, validation={"ndcg@10": 0.4})
    bad = benchmark.add(trial={"x": 2}, validation={"ndcg@10": 0.3})
    grid = grid_with(benchmark, chosen=1, runs=[bad.run])
    with pytest.raises(ConfigurationError, match=f"{bad.run} was chosen, but .*{good.run} is better: 0.4 against 0.3"):
        read_results(benchmark.folder, grid)


def test_of_equals_any_may_be_chosen(benchmark: Benchmark) -> None:
    benchmark.add(trial={"x": 1}, validation={"ndcg@10": 0.4})
    same = benchmark.add(trial={"x": 2}, validation={"ndcg@10": 0.4})
    (result,) = read_results(benchmark.folder, grid_with(benchmark, chosen=1, runs=[same.run]))
    assert result.chosen == same


def test_where_smaller_is_better_the_smallest_is_the_choice(benchmark: Benchmark) -> None:
    changes: dict[str, Any] = {"valid_metric": "giniindex@10", "config": {"valid_metric_bigger": False}}
    large = benchmark.add(trial={"x": 1}, validation={"giniindex@10": 0.9}, **changes)
    small = benchmark.add(trial={"x": 2}, validation={"giniindex@10": 0.8}, **changes)
    (result,) = read_results(benchmark.folder, grid_with(benchmark, chosen=1, runs=[small.run]))
    assert result.chosen == small
    with pytest.raises(ConfigurationError, match=f"{small.run} is better"):
        read_results(benchmark.folder, grid_with(benchmark, chosen=0, runs=[large.run]))


def test_a_chosen_trial_without_a_finished_run_is_refused(benchmark: Benchmark) -> None:
    gone = benchmark.add(trial={"x": 1}, validation={"ndcg@10": 0.4})
    benchmark.add(trial={"x": 2}, validation={"ndcg@10": 0.3})
    record_path(benchmark.folder, gone.run).unlink()
    with pytest.raises(ConfigurationError, match=f"{gone.run}, which has not finished"):
        result_of(benchmark)


def test_runs_of_another_trial_are_refused(benchmark: Benchmark) -> None:
    chosen = benchmark.add(trial={"x": 1})
    other = benchmark.add(trial={"x": 2}, seed=43, asked=False)
    grid = grid_with(benchmark, runs=[chosen.run, other.run])
    with pytest.raises(ConfigurationError, match=f"{other.run} is not of the chosen trial"):
        read_results(benchmark.folder, grid)


def test_runs_of_another_row_are_refused(benchmark: Benchmark) -> None:
    benchmark.add()
    other = benchmark.add(variant="minilm", asked=False)
    with pytest.raises(ConfigurationError, match="minilm.*of the row Office, SASRec, minilm, full, not"):
        read_results(benchmark.folder, grid_with(benchmark, runs=[benchmark.grid().rows[0].runs[0], other.run]))


def test_without_validation_there_is_nothing_to_choose_by(benchmark: Benchmark) -> None:
    for x in (1, 2):
        benchmark.add(trial={"x": x}, validation={})
    with pytest.raises(ConfigurationError, match="`validation` lacks ndcg@10"):
        result_of(benchmark)


# --- nothing to report ---


def test_without_a_finished_run_the_error_says_why_and_what_to_run(benchmark: Benchmark) -> None:
    benchmark.add(failed="loss is NaN in epoch 3")
    with pytest.raises(ConfigurationError, match="loss is NaN in epoch 3.*recbole-ext run amazon.yaml"):
        finished_results(benchmark.write())


def test_before_the_first_run_the_error_says_what_to_run(benchmark: Benchmark, tmp_path: Path) -> None:
    benchmark.ask(NONE, ["Office-SASRec-none-full-s42"])
    with pytest.raises(ConfigurationError, match="no run has finished.*recbole-ext run amazon.yaml"):
        finished_results(benchmark.write())
