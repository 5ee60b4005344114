from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.report import write_report


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_without_records_the_error_says_what_to_run_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="recbole-ext run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_when_all_runs_failed_the_error_says_why(benchmark: Benchmark) -> None:
    benchmark.add_failed()
    with pytest.raises(ConfigurationError, match="loss is NaN in epoch 3"):
        write_report(benchmark.folder)


def test_the_csv_holds_the_table(benchmark: Benchmark) -> None:
    for seed in (42, 43):
        benchmark.add(seed=seed)
        benchmark.add(seed=seed, init="minilm", quality=0.5)
    report = write_report(benchmark.folder)
    read = pd.read_csv(benchmark.folder / "leaderboard.csv")
    pd.testing.assert_frame_equal(read, report.table, rtol=1e-5, check_dtype=False)
    assert read["mark"].tolist()[1] == "better"
    assert read["p_holm"].tolist()[1] < 0.05


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else_behind(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(init="minilm")
    write_report(benchmark.folder)
    first = everything_in(benchmark.folder)
    write_report(benchmark.folder)
    assert everything_in(benchmark.folder) == first
    assert {name for name in first if not name.startswith("runs/")} == {
        "leaderboard.csv",
        "leaderboard.md",
        "index.html",
        "figures/ndcg_at_10.png",
        "figures/validation_Office_full.png",
    }


def test_only_the_chosen_candidate_counts(benchmark: Benchmark) -> None:
    for value, test, tag in ((0.3, 0.1, "a"), (0.2, 0.9, "b")):
        benchmark.add(candidate={"x": tag}, tag=tag, validation={"ndcg@10": value}, test={"ndcg@10": test})
    table = write_report(benchmark.folder).table
    assert table[["n_seeds", "ndcg@10"]].values.tolist() == [[1, 0.1]]


def test_a_seed_run_again_counts_once_and_the_older_run_is_named(benchmark: Benchmark) -> None:
    old = benchmark.add(tag="old", test={"ndcg@10": 0.9}, date="2026-11-01")
    benchmark.add(tag="new", test={"ndcg@10": 0.1}, date="2026-11-02")
    report = write_report(benchmark.folder)
    assert report.table[["n_seeds", "ndcg@10"]].values.tolist() == [[1, 0.1]]
    assert any(old["run"] in note for note in report.notes)


def test_terminal_lines_are_aligned_and_name_failures_and_notes(benchmark: Benchmark) -> None:
    benchmark.add(seed=42)
    benchmark.add(seed=43)
    benchmark.add(init="minilm", quality=0.5)
    benchmark.add(init="a-very-long-name", model="NARM", with_ranks=False)
    failed = benchmark.add_failed(model="GRU4Rec")
    lines = write_report(benchmark.folder).lines()
    header, rule, *rows = lines[:5]
    assert "NDCG@10" in header
    starts = [i for i, char in enumerate(rule) if char == "-" and (i == 0 or rule[i - 1] == " ")]
    for line in (header, *rows):
        assert all(line[start - 2 : start] == "  " for start in starts[1:])
    minilm = next(row for row in rows if " minilm " in row)
    assert "▲ better" in minilm
    assert f"failed: {failed['run']}: loss is NaN in epoch 3" in lines
    assert any(line.startswith("note: ") and "NARM" in line for line in lines)
    assert str(benchmark.folder / "index.html") in lines[-1]


def test_a_record_with_the_bare_minimum_is_reported(benchmark: Benchmark) -> None:
    full = benchmark.add(model="SomethingNew", topk=[7], with_ranks=False)
    needed = (
        "run",
        "benchmark",
        "dataset",
        "model",
        "init",
        "mode",
        "protocol",
        "seed",
        "candidate",
        "status",
    )
    bare = {key: full[key] for key in (*needed, "validation", "test")} | {"config": {}}
    (benchmark.folder / "runs" / f"{full['run']}.json").write_text(json.dumps(bare))
    report = write_report(benchmark.folder)
    assert report.table["model"].tolist() == ["SomethingNew"]
    assert "ndcg@7" in report.table
    assert (benchmark.folder / "figures" / "ndcg_at_7.png").exists()


def test_the_command_line_can_import_the_report_without_its_heavy_libraries() -> None:
    heavy = ["pandas", "numpy", "scipy", "matplotlib", "jinja2", "torch"]
    code = f"import sys, recbole_ext.report; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_failure_that_was_put_right_is_no_longer_listed(benchmark: Benchmark) -> None:
    benchmark.add()
    failed = benchmark.add_failed(model="GRU4Rec", tag="before")
    assert [record["run"] for record in write_report(benchmark.folder).failed] == [failed["run"]]
    benchmark.add(model="GRU4Rec", tag="after")
    assert write_report(benchmark.folder).failed == []
