from __future__ import annotations

import pytest
from synthetic_runs import Benchmark

from recbole_ext.report.boards import Board, Scale, compares_with_none, filter_choices, leaderboards, run_lists
from recbole_ext.report.cells import Cell, Column, Row, Sheet, full_leaderboard_sheet, leaderboard_sheet
from recbole_ext.report.leaderboard import leaderboard_table
from recbole_ext.report.records import grouped, load_records


def boards_of(benchmark: Benchmark) -> list[Board]:
    records = load_records(benchmark.folder)
    table, runs = leaderboard_table(records, {}), grouped(records)
    return leaderboards(full_leaderboard_sheet(table, runs), leaderboard_sheet(table, runs, ["ndcg@10"], ["ndcg@10"]))


def column(board: Board, name: str) -> Column:
    return next(column for column in board.sheet.columns if column.name == name)


def strips(board: Board, name: str) -> list[dict[str, float]]:
    of = column(board, name)
    return [board.strip(of, cell) for cell in board.sheet.cells(of)]


def test_a_board_for_each_dataset_and_protocol_without_their_columns(benchmark: Benchmark) -> None:
    for dataset in ("Office", "Arts"):
        for protocol in ("full", "uni100"):
            benchmark.add(dataset=dataset, protocol=protocol)
    boards = boards_of(benchmark)
    assert [board.title for board in boards] == [
        "Arts, full ranking",
        "Arts, uni100 ranking",
        "Office, full ranking",
        "Office, uni100 ranking",
    ]
    assert len({board.id for board in boards}) == 4
    assert [column.name for column in boards[0].sheet.columns][:3] == ["model", "init", "mode"]
    assert boards[1].group_of(boards[1].sheet.rows[0]) == {
        "dataset": "Arts",
        "model": "SASRec",
        "init": "none",
        "mode": "-",
        "protocol": "uni100",
    }


def test_columns_that_the_short_sheet_lacks_are_extra(benchmark: Benchmark) -> None:
    benchmark.add(topk=[10])
    (board,) = boards_of(benchmark)
    assert board.extra == {"recall@10", "mrr@10", "recall@10_improvement_%"}
    assert board.classes(column(board, "mrr@10")) == "number extra"
    assert [board.classes(column(board, name)) for name in ("model", "init", "mark")] == ["", "key", ""]


def test_whiskers_reach_one_deviation_either_side_on_their_boards_scale(benchmark: Benchmark) -> None:
    for init, pair in {"none": (0.10, 0.10), "minilm": (0.18, 0.22)}.items():
        for seed, value in enumerate(pair):
            benchmark.add(init=init, seed=seed, test={"ndcg@10": value})
    for seed in (0, 1):
        benchmark.add(dataset="Other", seed=seed, test={"ndcg@10": 0.9})
    office, other = boards_of(benchmark)
    none, minilm = strips(office, "ndcg@10")
    deviation = 0.04 / 2**0.5
    reach = 0.10 + deviation  # from 0.10 to 0.20 + one deviation
    assert none == {"start": 0.0, "mean": 0.0, "end": 0.0}
    assert minilm["start"] == pytest.approx(100 * (0.10 - deviation) / reach, abs=0.01)
    assert minilm["mean"] == pytest.approx(100 * 0.10 / reach, abs=0.01)
    assert minilm["end"] == 100.0
    assert strips(other, "ndcg@10") == [{"start": 50.0, "mean": 50.0, "end": 50.0}]


def test_bars_start_at_zero_and_changes_of_all_boards_lie_on_one_scale(benchmark: Benchmark) -> None:
    for dataset, value in (("A", 0.14), ("B", 0.08)):  # +40 % and −20 %
        benchmark.add(dataset=dataset, test={"ndcg@10": 0.1})
        benchmark.add(dataset=dataset, init="minilm", test={"ndcg@10": value})
    gain, loss = (strips(board, "ndcg@10_improvement_%") for board in boards_of(benchmark))
    assert gain == [{}, pytest.approx({"zero": 33.33, "start": 33.33, "end": 100.0}, abs=0.01)]
    assert loss == [{}, pytest.approx({"zero": 33.33, "start": 0.0, "end": 33.33}, abs=0.01)]


def test_a_scale_over_nothing_puts_everything_in_the_middle() -> None:
    assert Scale.over([Cell("–")]).place(0.3) == 50.0


def test_filters_are_offered_for_what_differs(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(init="minilm")
    benchmark.add(dataset="Arts", model="BERT4Rec")
    assert filter_choices(boards_of(benchmark)) == {
        "dataset": ["Arts", "Office"],
        "model": ["BERT4Rec", "SASRec"],
        "init": ["none", "minilm"],
        "mode": ["-", "full"],
    }


def test_a_rows_list_holds_its_seeds_and_those_of_none_it_is_compared_with(benchmark: Benchmark) -> None:
    for seed in (1, 2):
        benchmark.add(seed=seed)
        benchmark.add(seed=seed, init="minilm", mode="frozen")
        benchmark.add(seed=seed, model="BERT4Rec")
        benchmark.add(seed=seed, protocol="uni100")
    boards = boards_of(benchmark)
    lists = run_lists([*boards, *boards], grouped(load_records(benchmark.folder)))
    assert len(lists) == len({item.id for item in lists.values()}) == 4
    (minilm,) = [item for item in lists.values() if item.compared]
    assert minilm.title == "SASRec, minilm (frozen) on Office, full ranking"
    assert [record["run"] for record in minilm.records] == [
        f"Office-SASRec-minilm-frozen-full-s{seed}-ab12cd" for seed in (1, 2)
    ]
    assert [record["run"] for record in minilm.compared] == [
        f"Office-SASRec-none-x-full-s{seed}-ab12cd" for seed in (1, 2)
    ]


def test_a_list_of_several_rows_of_the_leaderboard_says_only_of_which_dataset(benchmark: Benchmark) -> None:
    both = [benchmark.add(), benchmark.add(init="minilm")]
    board = Board("data", "Datasets", Sheet([Column("dataset", "dataset")], [Row([Cell("Office")], both)]))
    (item,) = run_lists([board], grouped(both)).values()
    assert (item.title, item.compared) == ("Runs on Office", [])


def test_changes_and_p_values_come_from_the_runs_with_none_too(benchmark: Benchmark) -> None:
    benchmark.add()
    (board,) = boards_of(benchmark)
    assert {c.name for c in board.sheet.columns if compares_with_none(c)} == {
        "ndcg@5_improvement_%",
        "ndcg@10_improvement_%",
        "recall@10_improvement_%",
        "p_holm",
    }
