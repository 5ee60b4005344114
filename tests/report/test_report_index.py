"""The page above all benchmarks of a results folder."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from synthetic_runs import Benchmark, add_study

from recbole_ext.report import write_report
from recbole_ext.report.index import read_index, write_index


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, datasets in (("amazon", ("Office", "Arts")), ("embedded", ("ml-100k",))):
        benchmark = Benchmark(tmp_path / "runs" / name)
        for dataset in datasets:
            for seed in (42, 43, 44):
                benchmark.add(dataset=dataset, seed=seed)
                benchmark.add(dataset=dataset, variant="minilm", seed=seed, quality=0.6)
        write_report(benchmark.write())
    return tmp_path / "runs"


def test_every_benchmark_has_its_best_row_per_dataset_with_score_mark_date_and_link(results: Path) -> None:
    found = read_index(results).benchmarks.sheet.rows
    assert {row.cells[3].below for row in found} == {"by NDCG@10"}
    rows = [[cell.text for cell in row.cells] for row in found]
    assert [row[:4] for row in rows] == [
        ["amazon", "Office", "full", "SASRec, minilm"],
        ["amazon", "Arts", "full", "SASRec, minilm"],
        ["embedded", "ml-100k", "full", "SASRec, minilm"],
    ]
    assert {tuple(row[6:]) for row in rows} == {("▲ better", "1 better", "2026-11-24")}
    table = (results / "amazon" / "leaderboard.md").read_text(encoding="utf-8")
    assert all(row[4] in table and row[5] in table for row in rows)
    page = (results / "index.html").read_text(encoding="utf-8")
    assert '<a href="amazon/index.html"><span class="text">amazon</span></a>' in page


def test_a_report_brings_the_page_above_it_up_to_date(results: Path) -> None:
    benchmark = Benchmark(results / "third")
    benchmark.add()
    write_report(benchmark.write())
    assert "third/index.html" in (results / "index.html").read_text(encoding="utf-8")


def test_studies_and_performance_are_on_it_and_every_link_leads_to_a_file(results: Path) -> None:
    add_study(results / "studies" / "layers", text="| a |\n| - |\n| 1 |\n")
    (results / "performance" / "gpu").mkdir(parents=True)
    (results / "performance" / "gpu" / "speed.md").write_text("| epoch | s |\n| - | - |\n| <b>one</b> | 2.1 |\n")
    assert write_index(results) == results / "index.html"
    page = (results / "index.html").read_text(encoding="utf-8")
    assert "Six of twelve layers are enough." in page and "recbole-ext study layers layers.yaml" in page
    assert ">speed, gpu</a>" in page and "<td>2.1</td>" in page and "<b>one</b>" not in page
    links = [unquote(link) for link in re.findall(r'href="([^"#:]+)"', page)]
    assert {"studies/layers/study.json", "performance/gpu/speed.md", "embedded/index.html"} <= set(links)
    assert all((results / link).exists() for link in links)


def test_what_can_not_be_read_is_said_and_hides_nothing_else(results: Path) -> None:
    (results / "amazon" / "grid.json").write_text("{}")
    index = read_index(results)
    assert [row.cells[0].text for row in index.benchmarks.sheet.rows] == ["embedded"]
    (note,) = index.notes
    assert str(results / "amazon" / "grid.json") in note and "earlier version" in note


def test_a_benchmark_without_a_leaderboard_is_said(results: Path) -> None:
    (results / "amazon" / "leaderboard.csv").unlink()
    (note,) = read_index(results).notes
    assert "leaderboard.csv can't be read" in note


def test_a_damaged_study_is_said_and_hides_nothing_else(results: Path) -> None:
    for name in ("layers", "damaged"):
        add_study(results / "studies" / name, text="")
    (results / "studies" / "damaged" / "study.json").write_text("{")
    index = read_index(results)
    assert [study.folder.name for study in index.studies] == ["layers"] and index.number == 2
    (note,) = index.notes
    assert str(results / "studies" / "damaged") in note and "not JSON" in note
    write_report(results / "amazon")
    assert "studies/damaged" in (results / "index.html").read_text(encoding="utf-8")


def test_a_table_that_is_no_text_is_said_and_hides_nothing_else(results: Path) -> None:
    (results / "performance").mkdir()
    (results / "performance" / "damaged.md").write_bytes(b"\xff\xfe")
    (results / "performance" / "speed.md").write_text("fast")
    index = read_index(results)
    assert [measured.name for measured in index.performance] == ["speed"]
    (note,) = index.notes
    assert "damaged.md can't be read as UTF-8 text" in note


def test_an_index_that_somebody_else_wrote_is_left_alone(results: Path) -> None:
    (results / "index.html").write_text("<h1>Mine</h1>")
    assert write_index(results) is None
    write_report(results / "amazon")
    assert (results / "index.html").read_text() == "<h1>Mine</h1>"


def test_an_empty_folder_says_what_makes_the_first_benchmark(tmp_path: Path) -> None:
    write_index(tmp_path)
    assert "recbole-ext run" in (tmp_path / "index.html").read_text(encoding="utf-8")
