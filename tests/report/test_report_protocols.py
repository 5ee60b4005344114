"""Both documents name each protocol, say what was cut where, and what leave-one-out leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import Benchmark

from recbole_ext.report import write_report
from recbole_ext.report.protocols import protocols_in_words

LEAVE_ONE_OUT = {"eval_args": {"split": {"LS": "valid_and_test"}, "mode": {"valid": "full", "test": "full"}}}
TEMPORAL = {"eval_args": {"split": {"temporal": {"target": "first"}}, "mode": {"valid": "full", "test": "full"}}}
CUT = {
    "valid_from": 886_000_000.0,
    "test_from": 889_000_000.0,
    "training_interactions": 80_000,
    "test_users": 210,
    "new_items": 41,
    "new_items_are": "ranked",
    "new_targets": 12,
}


def config(**keys: Any) -> dict[str, Any]:
    return {"metric_decimal_place": 4, "topk": [1, 5, 10, 20, 50], **keys}


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    made = Benchmark(tmp_path / "runs" / "two")
    made.add(config=config(**LEAVE_ONE_OUT))
    made.add(dataset="Beauty", config=config(**LEAVE_ONE_OUT))
    made.add(protocol="time", config=config(**TEMPORAL), temporal=CUT)
    sampled = {"eval_args": {**LEAVE_ONE_OUT["eval_args"], "mode": {"valid": "uni100", "test": "uni100"}}}
    made.add(protocol="uni100", config=config(**sampled))
    made.add(protocol="wide", config=config(**LEAVE_ONE_OUT, metrics=["NDCG", "TailPercentage"]))
    made.add(protocol="again", config=config(**LEAVE_ONE_OUT, seen_targets=7))
    made.add(protocol="theirs", config=config(**LEAVE_ONE_OUT, benchmark_filename=["train", "valid", "test"]))
    return made


def test_each_protocol_is_a_paragraph_of_both_documents(benchmark: Benchmark) -> None:
    write_report(benchmark.write())
    for name in ("leaderboard.md", "index.html"):
        text = (benchmark.folder / name).read_text(encoding="utf-8")
        assert text.count("leave-one-out. A user's last item tests") + text.count("user&#39;s last item tests") == 4
        assert "what becomes popular, and in whose company, leaks from its future (arXiv 2507.16289)" in text
        assert "Protocol time: temporal, one cut in time over all users. Of Office the 80,000 interactions" in text
        assert "before time 886000000 (1998-01-28 15:06 UTC) train" in text
        assert "210 users are asked for their first item after that. Nothing later than the first cut was" in text
        assert "41 items are first seen after it and were ranked; 12 users are asked for one." in text
        assert "Items are ranked among a sample (uni100)" in text
        assert text.count("TailPercentage: RecBole counts the targets of training samples") == 1
        assert "of Office 7 of " in text and "test items are such ones; these were to find among all items." in text
        assert "Protocol theirs: given. The files train, valid, test of Office train, validate and test" in text


def test_datasets_of_one_protocol_share_what_is_said_of_all() -> None:
    assert protocols_in_words([]) == []


def test_new_items_that_were_left_out_are_said_to_be(benchmark: Benchmark) -> None:
    record = benchmark.add(protocol="out", config=config(**TEMPORAL), temporal={**CUT, "new_items_are": "left out"})
    (said,) = protocols_in_words([record])
    assert said.startswith("out: temporal, ") and "and were left out." in said


def test_a_record_that_says_nothing_of_its_split_gives_no_paragraph(tmp_path: Path) -> None:
    made = Benchmark(tmp_path / "runs" / "old")
    assert protocols_in_words([made.add()]) == []
