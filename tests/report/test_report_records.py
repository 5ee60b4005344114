from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.report import load_records, select_candidates
from recbole_ext.report.records import choose_candidates, grouped, newest_of_each_seed

LOW, HIGH = {"hidden_dropout_prob": 0.1}, {"hidden_dropout_prob": 0.5}


def runs(records: list[dict[str, Any]]) -> set[str]:
    return {record["run"] for record in records}


def test_a_folder_without_runs_has_no_records(tmp_path: Path) -> None:
    assert load_records(tmp_path) == []


def test_records_are_read_as_written_and_half_written_ones_are_not_seen(benchmark: Benchmark) -> None:
    written = [benchmark.add(seed=43), benchmark.add(seed=42), benchmark.add_failed(seed=44)]
    (benchmark.folder / "runs" / ".x.json.abc.tmp").write_text("{")
    assert load_records(benchmark.folder) == sorted(written, key=lambda record: record["run"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: "[1, 2]", "not a run record but a list"),
        (lambda r: json.dumps(r)[:-30] + "\n", "not JSON"),
        (lambda r: json.dumps({k: v for k, v in r.items() if k != "init"}), "`init` is missing"),
        (lambda r: json.dumps({k: v for k, v in r.items() if k != "test"}), "`test` is missing"),
        (lambda r: json.dumps(r | {"seed": "42"}), "`seed` should be a int"),
        (lambda r: json.dumps(r | {"status": "half"}), "`status` is `half`"),
        (lambda r: json.dumps(r | {"run": "another"}), "holds the run `another`"),
    ],
)
def test_a_damaged_record_is_an_error_that_names_its_file(benchmark: Benchmark, change: Any, said: str) -> None:
    record = benchmark.add()
    path = benchmark.folder / "runs" / f"{record['run']}.json"
    path.write_text(change(record))
    with pytest.raises(ConfigurationError) as error:
        load_records(benchmark.folder)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_record_that_is_not_utf8_is_an_error_that_names_its_file(benchmark: Benchmark) -> None:
    path = benchmark.folder / "runs" / f"{benchmark.add()['run']}.json"
    path.write_bytes(b'{"run": "\xff"}')
    with pytest.raises(ConfigurationError, match=f"{path.name}.*UTF-8"):
        load_records(benchmark.folder)


def test_a_failed_record_needs_no_metrics(benchmark: Benchmark) -> None:
    failed = benchmark.add_failed()
    assert load_records(benchmark.folder) == [failed]


def test_the_candidate_is_chosen_by_validation_and_never_by_test(benchmark: Benchmark) -> None:
    better = benchmark.add(quality=0.2, candidate=LOW, tag="low", validation={"ndcg@10": 0.3})
    benchmark.add(quality=0.6, candidate=HIGH, tag="high", validation={"ndcg@10": 0.2})
    assert runs(select_candidates(load_records(benchmark.folder))) == {better["run"]}


def test_the_candidate_is_chosen_on_the_smallest_seed_that_all_share(benchmark: Benchmark) -> None:
    benchmark.add(seed=41, candidate=LOW, tag="low", validation={"ndcg@10": 0.9})
    benchmark.add(seed=42, candidate=LOW, tag="low", validation={"ndcg@10": 0.1})
    benchmark.add(seed=43, candidate=LOW, tag="low", validation={"ndcg@10": 0.9})
    kept = [
        benchmark.add(seed=42, candidate=HIGH, tag="high", validation={"ndcg@10": 0.2}),
        benchmark.add(seed=43, candidate=HIGH, tag="high", validation={"ndcg@10": 0.3}),
    ]
    records = load_records(benchmark.folder)
    assert runs(select_candidates(records)) == runs(kept)
    (choice,) = choose_candidates(records).values()
    assert (choice.candidate, choice.tried, choice.search_seed, choice.validation) == (HIGH, 2, 42, 0.2)


def test_each_group_chooses_for_itself(benchmark: Benchmark) -> None:
    for init, (low, high) in {"none": (0.3, 0.2), "minilm": (0.2, 0.3)}.items():
        benchmark.add(init=init, candidate=LOW, tag="low", validation={"ndcg@10": low})
        benchmark.add(init=init, candidate=HIGH, tag="high", validation={"ndcg@10": high})
    chosen = {g[2]: choice.candidate for g, choice in choose_candidates(load_records(benchmark.folder)).items()}
    assert chosen == {"none": LOW, "minilm": HIGH}


def test_the_choice_goes_by_the_valid_metric_of_the_config(benchmark: Benchmark) -> None:
    config = {"valid_metric": "Recall@20"}
    benchmark.add(candidate=LOW, tag="low", config=config, validation={"ndcg@10": 0.9, "recall@20": 0.1})
    kept = benchmark.add(candidate=HIGH, tag="high", config=config, validation={"ndcg@10": 0.1, "recall@20": 0.2})
    assert runs(select_candidates(load_records(benchmark.folder))) == {kept["run"]}


def test_a_failed_candidate_does_not_stop_the_choice(benchmark: Benchmark) -> None:
    kept = benchmark.add(seed=42, candidate=LOW, tag="low")
    failed_later = benchmark.add_failed(seed=43, candidate=LOW, tag="low")
    benchmark.add_failed(seed=42, candidate=HIGH, tag="high")
    assert runs(select_candidates(load_records(benchmark.folder))) == runs([kept, failed_later])


def test_a_group_in_which_all_failed_keeps_its_records(benchmark: Benchmark) -> None:
    failed = [
        benchmark.add_failed(candidate=LOW, tag="low"),
        benchmark.add_failed(candidate=HIGH, tag="high"),
    ]
    assert runs(select_candidates(load_records(benchmark.folder))) == runs(failed)


def test_a_half_finished_search_chooses_on_the_seed_that_most_candidates_have(benchmark: Benchmark) -> None:
    benchmark.add(seed=42, candidate={"x": 1}, tag="a", validation={"ndcg@10": 0.9})
    benchmark.add(seed=43, candidate={"x": 2}, tag="b", validation={"ndcg@10": 0.2})
    kept = benchmark.add(seed=43, candidate={"x": 3}, tag="c", validation={"ndcg@10": 0.3})
    assert runs(select_candidates(load_records(benchmark.folder))) == {kept["run"]}


def test_a_rival_without_the_validation_metric_is_an_error_that_names_record_and_metric(
    benchmark: Benchmark,
) -> None:
    lacking = benchmark.add(candidate=LOW, tag="low", validation={"mrr@10": 0.1})
    assert runs(select_candidates(load_records(benchmark.folder))) == {lacking["run"]}  # alone it needs none
    benchmark.add(candidate=HIGH, tag="high")
    with pytest.raises(ConfigurationError, match=f"{lacking['run']}.*ndcg@10"):
        select_candidates(load_records(benchmark.folder))


def test_of_two_runs_of_one_seed_the_newer_counts_and_a_finished_one_before_a_failed_one(
    benchmark: Benchmark,
) -> None:
    benchmark.add(seed=42, tag="old", date="2026-11-01T00:00:00")
    new = benchmark.add(seed=42, tag="new", date="2026-11-02T00:00:00")
    done = benchmark.add(seed=43, tag="old", date="2026-11-01T00:00:00")
    benchmark.add_failed(seed=43, tag="zzz", date="2026-11-03T00:00:00")
    other = benchmark.add(seed=42, tag="other", candidate=HIGH, date="2026-10-01T00:00:00")
    assert runs(newest_of_each_seed(load_records(benchmark.folder))) == runs([new, done, other])


def test_groups_come_in_reading_order_with_none_before_the_other_inits(benchmark: Benchmark) -> None:
    for init in ("zeta", "alpha", "none"):
        for seed in (43, 42):
            benchmark.add(init=init, seed=seed)
    benchmark.add(dataset="Arts", init="zeta")
    groups = grouped(load_records(benchmark.folder))
    assert [(g[0], g[2]) for g in groups] == [
        ("Arts", "zeta"),
        ("Office", "none"),
        ("Office", "alpha"),
        ("Office", "zeta"),
    ]
    assert all([r["seed"] for r in members] == sorted(r["seed"] for r in members) for members in groups.values())
