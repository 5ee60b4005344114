from __future__ import annotations

from synthetic_runs import Benchmark

from recbole_ext.report.best import best_section
from recbole_ext.report.leaderboard import leaderboard_table
from recbole_ext.report.records import grouped, load_records
from recbole_ext.report.sections import Section


def section_of(benchmark: Benchmark) -> tuple[Section | None, list[str]]:
    records = load_records(benchmark.folder)
    return best_section(leaderboard_table(records, {}), records, benchmark.folder, grouped(records))


def test_every_row_stands_below_the_best_of_its_dataset_and_protocol_with_a_test(benchmark: Benchmark) -> None:
    for seed in (42, 43):
        benchmark.add(seed=seed, quality=0.2)
        benchmark.add(seed=seed, quality=0.4, init="minilm")
        benchmark.add(seed=seed, quality=0.4, model="Twin", init="minilm", mode="-")  # the same ranks
        benchmark.add(seed=seed, quality=0.3, dataset="Arts")  # alone: nothing to compare with
    section, notes = section_of(benchmark)
    assert section is not None and notes == []
    (caption,) = section.sheets
    assert caption == "Office, full ranking, against SASRec, minilm."
    rows = [[cell.text for cell in row.cells] for row in section.sheets[caption].rows]
    assert [row[0] for row in rows] == ["SASRec", "Twin", "SASRec"]
    assert rows[0][5:] == ["–", "–", "–"]
    assert rows[1][5:] == ["+0.0 %", "1.000", "≈ tie"]
    assert rows[2][5].startswith("−") and rows[2][6:] == ["<0.001", "▼ worse"]


def test_a_row_that_shares_no_seed_with_the_best_has_no_test_and_a_note(benchmark: Benchmark) -> None:
    benchmark.add(seed=42, quality=0.4)
    benchmark.add(seed=43, quality=0.2, model="GRU4Rec")
    section, notes = section_of(benchmark)
    assert section is not None
    (sheet,) = section.sheets.values()
    change, *test = [cell.text for cell in sheet.rows[1].cells][5:]
    assert change.startswith("−") and test == ["–", "–"]
    assert notes == [
        "Office, GRU4Rec, none (-), full: no significance test against SASRec, none, no seed for which both have ranks."
    ]


def test_without_a_second_row_or_ndcg_at_10_there_is_no_section(benchmark: Benchmark) -> None:
    benchmark.add()
    assert section_of(benchmark) == (None, [])
    benchmark.add(model="GRU4Rec", topk=(5,))
    benchmark.add(model="Pop", topk=(5,))
    section, _ = section_of(benchmark)
    assert section is None
