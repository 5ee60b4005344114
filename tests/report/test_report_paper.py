"""Our gains beside the paper's: only on its datasets, and the numbers that it reports."""

from __future__ import annotations

import pytest
from synthetic_runs import Benchmark

from recbole_ext.report import write_report
from recbole_ext.report.paper import GAINS, paper_section


def test_the_gains_are_the_paper_s() -> None:
    assert GAINS == {"Arts": 21.84, "Instruments": 17.03, "Pantry": 19.03, "Sports": 34.29, "Movies": 12.83}


def test_rows_on_the_paper_s_datasets_stand_beside_its_gains(benchmark: Benchmark) -> None:
    for dataset in ("Arts", "Office"):
        benchmark.add(dataset=dataset)
        benchmark.add(dataset=dataset, init="pretrain", quality=0.5)
    report = write_report(benchmark.folder)
    section = paper_section(report.table, report.runs)
    assert section is not None
    ((_, sheet),) = section.sheets.items()
    (row,) = sheet.rows
    (ours,) = report.table.query("dataset == 'Arts' and init == 'pretrain'")["ndcg@5_improvement_%"].tolist()
    by_name = dict(zip([column.name for column in sheet.columns], row.cells, strict=True))
    assert (by_name["dataset"].text, by_name["init"].text, by_name["paper"].text) == ("Arts", "pretrain", "+21.84 %")
    assert by_name["ours"].value == pytest.approx(ours)
    assert by_name["difference"].value == pytest.approx(ours - 21.84)
    for name in ("leaderboard.md", "index.html"):
        text = (benchmark.folder / name).read_text(encoding="utf-8")
        assert "Beside the paper" in text and "+21.84 %" in text


def test_other_datasets_and_random_initialisations_have_no_such_section(benchmark: Benchmark) -> None:
    benchmark.add(dataset="Office")
    benchmark.add(dataset="Office", init="pretrain")
    benchmark.add(dataset="Arts")
    report = write_report(benchmark.folder)
    assert paper_section(report.table, report.runs) is None
    assert "Beside the paper" not in (benchmark.folder / "leaderboard.md").read_text(encoding="utf-8")
