"""`report` of a folder: told what it is, or one sentence about what it is instead, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_cards import card
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.folders import report_lines


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A benchmark ``trial``, cards, a folder of what only looks like cards, an empty folder, and a file."""
    benchmark = Benchmark(tmp_path / "trial")
    benchmark.add()
    benchmark.write()
    for name in ("cards", "foreign", "empty", "damaged"):
        (tmp_path / name).mkdir()
    card("minilm", 8.0).write(tmp_path / "cards")
    (tmp_path / "foreign" / "settings.json").write_text('{"a": 1}')
    (tmp_path / "notes.txt").write_text("notes")
    content = json.loads(card("minilm", 8.0).write(tmp_path / "damaged").read_text())
    del content["metric"]
    (tmp_path / "damaged" / "shops-minilm.json").write_text(json.dumps(content))
    return tmp_path


def written(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", ["nowhere: no such folder", "runs/NAME"]),
        ("notes.txt", ["notes.txt: a file", "made of a folder"]),
        ("trial/grid.json", ["grid.json: a file", "here {}/trial."]),
        ("cards/shops-minilm.json", ["a file", "here {}/cards."]),
        ("trial/runs", ["trial/runs: a part of the benchmark in {}/trial", "one up"]),
        ("empty", ["empty: the folder is empty", "runs/NAME"]),
        ("foreign", ["foreign: there is no grid.json", "settings.json, none is a score card"]),
        ("damaged", ["shops-minilm.json: key `metric`"]),
    ],
)
def test_a_folder_of_something_else_is_told_in_words_and_left_as_it_is(
    place: str, words: list[str], results: Path
) -> None:
    before = written(results)
    with pytest.raises(ConfigurationError) as error:
        report_lines(results / place)
    for word in words:
        assert word.format(results) in str(error.value)
    assert written(results) == before


def test_cards_with_their_runs_in_folders_below_are_reported_as_cards(results: Path) -> None:
    card("minilm", 8.0).write(results)
    report_lines(results)
    assert (results / "table.md").is_file()


def test_benchmarks_are_found_below_a_folder_with_other_json_files(results: Path) -> None:
    (results / "models.json").write_text('{"models": {}}')
    _, whole = report_lines(results)
    assert whole
    assert (results / "index.html").is_file() and (results / "trial" / "leaderboard.md").is_file()
    assert not (results / "table.md").exists()


def test_an_unfinished_neighbour_is_a_note_and_stops_no_other_report(results: Path) -> None:
    Benchmark(results / "another").write()
    (results / "studies" / "damaged").mkdir(parents=True)
    (results / "studies" / "damaged" / "study.json").write_text("{")
    lines, whole = report_lines(results)
    assert not whole
    assert (results / "index.html").is_file() and (results / "trial" / "leaderboard.md").is_file()
    notes = [line for line in lines if line.startswith("note: ")]
    assert [note.split(": ")[1].split("/")[-1] for note in notes] == ["another", "study.json"]
    assert "no report: " in notes[0]
