"""The survey of models: what it writes, and that nothing on the published page ends in an error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from recbole_ext.models import OWN_MODELS, PROPERTIES, model_names
from recbole_ext.survey.comparison import compared
from recbole_ext.survey.page import OWN, as_page
from recbole_ext.survey.processes import in_processes
from recbole_ext.survey.surveyed import Surveyed
from recbole_ext.survey.trials import LimitedBatches, TimeIsOver

ROOT = Path(__file__).resolve().parents[2]
METRICS = {"validation": {"ndcg@10": 0.25}, "test": {"ndcg@10": 0.5}}


def published() -> list[Surveyed]:
    rows = json.loads((ROOT / "results" / "models.json").read_text(encoding="utf-8"))
    return [Surveyed(**{**row, "keys": tuple(row["keys"])}) for row in rows]


def test_the_published_page_is_what_its_records_give() -> None:
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == as_page(published())


def test_each_model_on_the_published_page_runs_or_is_refused_and_none_differs_from_stock() -> None:
    rows = {row.model: row for row in published()}
    assert set(rows) == set(model_names())
    assert {name for name, row in rows.items() if not row.runs.startswith(("yes", "refused: "))} == set()
    assert {name for name, row in rows.items() if row.equals_stock.startswith("no")} == set()


def test_the_models_of_this_package_stand_there_with_keys_that_they_have() -> None:
    recboles = {"FDSA", "KSR", "NeuMF", "RaCT", "S3Rec", "SASRecF"}
    assert [name for name, _, _ in OWN] == sorted(set(OWN_MODELS) - recboles, key=str.lower)
    for name, _, keys in OWN:
        path = PROPERTIES / f"{name}.yaml"
        known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        assert set(re.findall(r"`(\w+)`", keys)) <= set(known), name


def test_equal_means_the_same_metrics_to_the_last_digit() -> None:
    assert compared(METRICS, {"metrics": METRICS}) == "yes"
    assert compared(METRICS, {"metrics": METRICS, "mended": "KeyError"}) == "yes, mended: KeyError"
    assert compared(METRICS, {"failure": "KeyError"}) == "stock fails: KeyError"
    other = {**METRICS, "test": {"ndcg@10": 0.5000001}}
    assert compared(METRICS, {"metrics": other}) == "no: test ndcg@10 0.5 against 0.5000001"
    more = {**METRICS, "test": {"ndcg@10": 0.5, "mrr@10": 0.5}}
    assert compared(METRICS, {"metrics": more}) == "no: test lacks mrr@10"


def test_an_epoch_that_takes_too_long_ends_and_its_batches_are_counted() -> None:
    batches = LimitedBatches([1, 2, 3], limit=0)
    with pytest.raises(TimeIsOver):
        list(batches)
    assert batches.done == 1 and len(batches) == 3
    assert list(LimitedBatches([1, 2, 3], limit=60)) == [1, 2, 3]


def test_seconds_that_are_estimated_are_marked() -> None:
    measured = Surveyed("A", "general", "yes", seconds=12.345)
    estimated = Surveyed("B", "general", "yes", seconds=1234.0, estimated=True)
    page = as_page([measured, estimated])
    assert "| A | general | yes | – | – | 12.3 |" in page and "| B | general | yes | – | – | ~1234 |" in page


def test_a_case_that_fails_or_ends_its_process_leaves_the_others_their_results(tmp_path: Path) -> None:
    program = "import os\nrun = lambda number: os._exit(3) if number == 1 else {'half': 1 / (number - 2)}"
    found = in_processes(program, [[0], [1], [2], [4]], tmp_path, limit=60)
    assert found == [
        {"half": -0.5},
        {"failure": "no word"},
        {"failure": "ZeroDivisionError: division by zero"},
        {"half": 0.5},
    ]


def test_a_case_gets_its_keys_as_they_are(tmp_path: Path) -> None:
    """FFM's fields are numbered, which JSON would make text of."""
    settings = {"fields": {0: ["user_id"], 1: ["item_id"]}, "topk": [5], "train_neg_sample_args": None}
    program = "run = lambda settings: {'same': repr(settings)}"
    assert in_processes(program, [[settings]], tmp_path, limit=60) == [{"same": repr(settings)}]
