from __future__ import annotations

import pytest
from synthetic_runs import Benchmark

from recbole_ext.report.boards import (
    Board,
    Scale,
    filter_choices,
    leaderboards,
    lean_board,
    remarks_below,
    run_lists,
)
from recbole_ext.report.cells import Cell, Column, Row, Sheet, leaderboard_sheet, percent_cell
from recbole_ext.report.leaderboard import baselines_of, leaderboard
from recbole_ext.report.results import read_results
from recbole_ext.report.significance import Comparisons


def boards_of(benchmark: Benchmark) -> list[Board]:
    grid = benchmark.grid()
    board = leaderboard(grid, read_results(benchmark.folder, grid), Comparisons({}, {}, []))
    full, main = (leaderboard_sheet(board, m, c) for m, c in ((board.metrics, board.compared), (["ndcg@10"],) * 2))
    return leaderboards(full, main)


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
        "Office, full ranking",
        "Office, uni100 ranking",
        "Arts, full ranking",
        "Arts, uni100 ranking",
    ]
    assert len({board.id for board in boards}) == 4
    assert [column.name for column in boards[0].sheet.columns][:4] == ["rank", "model", "variant", "n_seeds"]
    assert boards[3].group_of(boards[3].sheet.rows[0]) == {
        "dataset": "Arts",
        "model": "SASRec",
        "variant": "none",
        "protocol": "uni100",
    }


def test_columns_that_the_short_sheet_lacks_are_extra_and_not_drawn(benchmark: Benchmark) -> None:
    benchmark.add(topk=[10])
    benchmark.add(topk=[10], variant="minilm")
    (board,) = boards_of(benchmark)
    assert board.extra == {
        "recall@10",
        "mrr@10",
        "recall@10_improvement_%",
        "recall@10_p_holm",
        "recall@10_mark",
    }
    assert board.classes(column(board, "mrr@10")) == "number extra"
    assert [board.classes(column(board, name)) for name in ("model", "variant", "rank", "ndcg@10_mark")] == [
        "",
        "key",
        "number rank",
        "",
    ]
    assert strips(board, "mrr@10") == [{}, {}]


def test_whiskers_reach_one_deviation_either_side_on_their_boards_scale(benchmark: Benchmark) -> None:
    for variant, pair in {"none": (0.10, 0.10), "minilm": (0.18, 0.22)}.items():
        for seed, value in enumerate(pair):
            benchmark.add(variant=variant, seed=seed, test={"ndcg@10": value})
    for seed in (0, 1):
        benchmark.add(dataset="Other", seed=seed, test={"ndcg@10": 0.9})
    office, other = boards_of(benchmark)
    minilm, none = strips(office, "ndcg@10")
    deviation = 0.04 / 2**0.5
    reach = 0.10 + deviation  # from 0.10 to 0.20 + one deviation
    assert none == {"start": 0.0, "mean": 0.0, "end": 0.0}
    assert minilm["start"] == pytest.approx(100 * (0.10 - deviation) / reach, abs=0.01)
    assert minilm["mean"] == pytest.approx(100 * 0.10 / reach, abs=0.01)
    assert minilm["end"] == 100.0
    assert strips(other, "ndcg@10") == [{"start": 50.0, "mean": 50.0, "end": 50.0}]


def test_bars_start_at_zero_on_one_scale_for_all_boards_and_what_was_not_tested_has_none() -> None:
    columns = [Column(name, name, numeric=False) for name in ("dataset", "protocol")]
    columns.append(Column("change", "change", change=True))
    changes = {"A": [percent_cell(40.0, 30.0, 50.0), percent_cell(90.0)], "B": [percent_cell(-20.0, -30.0, -10.0)]}
    rows = [Row([Cell(dataset), Cell("full"), cell]) for dataset, cells in changes.items() for cell in cells]
    sheet = Sheet(columns, rows)
    gain, loss = (strips(board, "change") for board in leaderboards(sheet, sheet))
    assert gain == [pytest.approx({"zero": 33.33, "start": 33.33, "end": 100.0}, abs=0.01), {}]
    assert loss == [pytest.approx({"zero": 33.33, "start": 0.0, "end": 33.33}, abs=0.01)]


def test_a_scale_over_nothing_puts_everything_in_the_middle() -> None:
    assert Scale.over([Cell("–")]).place(0.3) == 50.0


def test_filters_are_offered_for_what_differs(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm", quality=0.1)
    benchmark.add(dataset="Arts", model="BERT4Rec")
    assert filter_choices(boards_of(benchmark)) == {
        "dataset": ["Office", "Arts"],
        "model": ["SASRec", "BERT4Rec"],
        "variant": ["none", "minilm"],
    }


def test_what_all_rows_share_of_dataset_and_protocol_goes_into_the_title() -> None:
    columns = [Column(name, name, numeric=False) for name in ("Dataset", "model", "protocol")]
    rows = [Row([Cell("Office"), Cell(model), Cell(protocol)]) for model, protocol in (("A", "full"), ("B", "uni100"))]
    board = lean_board("id", "Costs.", Sheet(columns, rows))
    assert board.title == "Costs (Office)"
    assert [column.name for column in board.sheet.columns] == ["model", "protocol"]
    assert board.group_of(board.sheet.rows[0]) == {"dataset": "Office", "model": "A", "protocol": "full"}


def test_a_remark_stands_below_the_variant_where_it_needs_no_column() -> None:
    columns = [Column(name, name, numeric=False) for name in ("model", "variant", "remarks")]
    rows = [
        Row([Cell("A", "A"), Cell("none", "none"), Cell("–")]),
        Row([Cell("B", "B"), Cell("none", "none"), Cell("2 of 3 seeds", "2 of 3 seeds", link="x")]),
    ]
    sheet = remarks_below(Sheet(columns, rows))
    assert [column.name for column in sheet.columns] == ["model", "variant"]
    assert [(row.cells[1].remark, row.cells[1].link) for row in sheet.rows] == [("", ""), ("2 of 3 seeds", "x")]


def test_a_rows_list_holds_its_seeds_and_those_of_the_baseline(benchmark: Benchmark) -> None:
    for seed in (1, 2):
        benchmark.add(seed=seed)
        benchmark.add(seed=seed, variant="minilm", mode="frozen")
        benchmark.add(seed=seed, model="BERT4Rec")
        benchmark.add(seed=seed, protocol="uni100")
    boards = boards_of(benchmark)
    results = {result.key: result for result in read_results(benchmark.folder, benchmark.grid())}
    lists = run_lists([*boards, *boards], results, baselines_of(results))
    assert len(lists) == len({item.id for item in lists.values()}) == 4
    (minilm,) = [item for item in lists.values() if item.compared]
    assert minilm.title == "SASRec, minilm on Office, full ranking"
    assert [record.run for record in minilm.records] == [f"Office-SASRec-minilm-full-s{seed}" for seed in (1, 2)]
    assert [record.run for record in minilm.compared] == [f"Office-SASRec-none-full-s{seed}" for seed in (1, 2)]


def test_a_list_of_several_rows_of_the_leaderboard_says_only_of_which_dataset(benchmark: Benchmark) -> None:
    both = [benchmark.add(), benchmark.add(variant="minilm")]
    results = {result.key: result for result in read_results(benchmark.folder, benchmark.grid())}
    board = Board("data", "Datasets", Sheet([Column("dataset", "dataset")], [Row([Cell("Office")], both)]))
    (item,) = run_lists([board], results, baselines_of(results)).values()
    assert (item.title, item.compared) == ("Runs on Office", [])


def test_changes_and_p_values_come_from_the_baseline_s_runs_too(benchmark: Benchmark) -> None:
    benchmark.add()
    assert not any(column.of_baseline for column in boards_of(benchmark)[0].sheet.columns)
    benchmark.add(variant="minilm")
    (board,) = boards_of(benchmark)
    assert {c.name for c in board.sheet.columns if c.of_baseline} == {
        f"{metric}_{column}" for metric in ("ndcg@5", "ndcg@10", "recall@10") for column in ("improvement_%", "p_holm")
    }


def test_vectors_and_mode_stand_below_the_variant(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm", quality=0.6)
    benchmark.add(variant="kept", mode="frozen", vectors="encoder minilm", quality=0.1)
    (board,) = boards_of(benchmark)
    below = {cell.text: cell.below for cell in board.sheet.cells(column(board, "variant"))}
    assert below == {"none": "random", "minilm": "encoder minilm", "kept": "encoder minilm, frozen"}
