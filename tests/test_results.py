"""What results/README.md says is what the results say."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

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


def test_the_tables_are_the_leaderboards() -> None:
    with (RESULTS / "comparison" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        board = {(row["dataset"], row["model"], row["init"], row["protocol"]): row for row in csv.DictReader(file)}
    row_format = r"^\| ([\w-]+) \| (\w+) \| ([\w-]+) \|(?: (uni100) \|)? (\d+) \| ([\d.]+) \| (.+?) \| (.+?) \|$"
    lines = re.findall(row_format, TEXT, re.MULTILINE)
    assert {(dataset, model, init, protocol or "full") for dataset, model, init, protocol, *_ in lines} == set(board)
    for dataset, model, init, protocol, seeds, score, change, p in lines:
        row = board[dataset, model, init, protocol or "full"]
        assert (int(seeds), score) == (int(row["n_seeds"]), f"{float(row['ndcg@5']):.4f}"), (dataset, model, init)
        gain = row["ndcg@5_improvement_%"]
        assert change == (f"{float(gain):+.1f} %" if gain else "–"), (dataset, model, init)
        assert p == (f"{float(row['p_holm']):.3g}" if row["p_holm"] else "–"), (dataset, model, init)
