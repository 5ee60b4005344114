"""What results/README.md says is what the results say, and published tables are those of their records."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from recbole_ext.report import write_report

RESULTS = Path(__file__).resolve().parents[1] / "results"
TEXT = (RESULTS / "README.md").read_text(encoding="utf-8")


def test_every_sentence_quoted_from_a_study_is_the_studys_own() -> None:
    quoted = re.findall(r"^> (.+)\n>\n> — \[`(.+?)`\]", TEXT, re.MULTILINE)
    assert quoted
    for sentence, name in quoted:
        study = json.loads((RESULTS / "studies" / name / "study.json").read_text(encoding="utf-8"))
        assert sentence == study["sentence"], name


def test_every_study_that_has_been_run_is_quoted() -> None:
    run = {path.parent.name for path in RESULTS.glob("studies/*/study.json")}
    assert set(re.findall(r"^> — \[`(.+?)`\]", TEXT, re.MULTILINE)) == run


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RESULTS.glob("*/grid.json")))
def test_a_published_leaderboard_is_what_its_grid_and_records_give(name: str, tmp_path: Path) -> None:
    shutil.copytree(RESULTS / name, tmp_path / name)
    write_report(tmp_path / name)
    for file in ("leaderboard.csv", "leaderboard.md"):
        assert (tmp_path / name / file).read_bytes() == (RESULTS / name / file).read_bytes(), file


def test_every_folder_of_results_can_be_read() -> None:
    """One of an earlier format would be shown by nothing."""
    folders = {path.name for path in RESULTS.iterdir() if path.is_dir()}
    assert folders - {"performance", "studies"} == {path.parent.name for path in RESULTS.glob("*/grid.json")}
