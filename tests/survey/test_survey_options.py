"""The survey of what can be set of an evaluation: complete, and equal to stock RecBole or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recbole.evaluator import metrics as recbole_metrics
from recbole.evaluator.register import metrics_dict

from recbole_ext.survey.options import Tried, all_cases, as_page, try_options

ROOT = Path(__file__).resolve().parents[2]


def published() -> list[Tried]:
    return [Tried(**row) for row in json.loads((ROOT / "results" / "options.json").read_text(encoding="utf-8"))]


def test_the_published_page_is_what_its_records_give() -> None:
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == as_page(published())


def test_each_case_on_the_published_page_equals_stock_or_is_refused() -> None:
    rows = published()
    assert {row.place for row in rows} == {case.place for case in all_cases()}
    assert [row for row in rows if not row.outcome.startswith(("yes", "refused: "))] == []


def test_every_metric_of_recbole_is_tried_alone() -> None:
    alone = {case.settings["metrics"][0].lower() for case in all_cases() if len(case.settings.get("metrics", ())) == 1}
    # A test before this one may have registered metrics of this package.
    assert alone == {name for name, metric in metrics_dict.items() if metric.__module__ == recbole_metrics.__name__}


def test_no_two_cases_stand_in_one_place() -> None:
    places = [case.place for case in all_cases()]
    assert len(places) == len(set(places))


def test_the_page_says_what_is_equal_mended_refused_and_different() -> None:
    page = as_page(
        [
            Tried("Splits", "a", "BPR", "yes"),
            Tried("Splits", "a", "SASRec", "yes, mended: AttributeError: cpu"),
            Tried("Splits", "b", "BPR", "refused: set order: TO.", "ValueError: TO"),
            Tried("Splits", "b", "SASRec", "no: test mrr@5 1 against 2"),
        ]
    )
    assert "Of 3 that run, 2 give" in page and "\n| a | = | =* |\n| b | refused | ≠ |\n" in page
    assert "- set order: TO. (Stock: ValueError: TO)" in page and "- AttributeError: cpu" in page
    assert "- b, SASRec: no: test mrr@5 1 against 2" in page


@pytest.mark.slow
def test_every_way_to_evaluate_equals_stock_or_is_refused(tmp_path: Path) -> None:
    found = try_options(tmp_path / "options.json", tmp_path / "options.md")
    assert [tried for tried in found if not tried.outcome.startswith(("yes", "refused: "))] == []
