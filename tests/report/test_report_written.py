from __future__ import annotations

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


def test_without_a_grid_the_error_says_what_to_run_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="recbole-ext run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_when_all_runs_failed_the_error_says_why(benchmark: Benchmark) -> None:
    benchmark.add(failed="loss is NaN in epoch 3")
    with pytest.raises(ConfigurationError, match="loss is NaN in epoch 3"):
        write_report(benchmark.write())


def test_the_csv_holds_the_table(benchmark: Benchmark) -> None:
    for seed in (42, 43, 44):
        benchmark.add(seed=seed)
        benchmark.add(seed=seed, variant="minilm", quality=0.5)
    report = write_report(benchmark.write())
    read = pd.read_csv(benchmark.folder / "leaderboard.csv", keep_default_na=False, na_values={})
    table = report.to_pandas()
    assert list(read.columns) == list(table.columns)
    for column in table:
        if pd.api.types.is_numeric_dtype(table[column]):
            assert pd.to_numeric(read[column]).tolist() == pytest.approx(table[column].tolist(), rel=1e-5, nan_ok=True)
        else:
            assert read[column].tolist() == table[column].tolist()
    assert read["variant"].tolist() == ["minilm", "none"]
    assert read["ndcg@10_mark"].tolist() == ["better", ""]
    assert float(read["ndcg@10_p_holm"][0]) < 0.05


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else_behind(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm")
    write_report(benchmark.write())
    first = everything_in(benchmark.folder.parent)
    write_report(benchmark.folder)
    assert everything_in(benchmark.folder.parent) == first
    assert {name.removeprefix("amazon/") for name in first if not name.startswith(("amazon/runs/", "amazon/pop"))} == {
        "grid.json",
        "leaderboard.csv",
        "leaderboard.md",
        "index.html",
        "figures/ndcg_at_10.png",
        "figures/validation_Office_full.png",
    }


def test_only_the_chosen_trial_counts(benchmark: Benchmark) -> None:
    for value, test, x in ((0.3, 0.1, 1), (0.2, 0.9, 2)):
        benchmark.add(trial={"x": x}, validation={"ndcg@10": value}, test={"ndcg@10": test}, with_ranks=False)
    table = write_report(benchmark.write()).to_pandas()
    assert table[["n_seeds", "ndcg@10"]].values.tolist() == [[1, 0.1]]


def test_a_record_that_the_grid_does_not_ask_for_changes_no_number(benchmark: Benchmark) -> None:
    benchmark.add()
    before = write_report(benchmark.write()).to_pandas()
    benchmark.add(seed=43, quality=0.9, asked=False, date="2027-01-01T00:00:00+00:00")
    pd.testing.assert_frame_equal(write_report(benchmark.folder).to_pandas(), before)


def test_terminal_lines_are_aligned_and_name_failures_search_and_notes(benchmark: Benchmark) -> None:
    for seed in (42, 43, 44):
        benchmark.add(seed=seed)
        benchmark.add(variant="minilm", seed=seed, quality=0.5)
    benchmark.add(variant="a-very-long-name", model="NARM")
    failed = benchmark.add(model="GRU4Rec", failed="loss is NaN\nin epoch 3")
    lines = write_report(benchmark.write()).lines()
    assert lines[0] == "Office, full ranking"
    header, rule, *rows = lines[1:7]
    assert "NDCG@10" in header and "Dataset" not in header
    starts = [i for i, char in enumerate(rule) if char == "-" and (i == 0 or rule[i - 1] == " ")]
    for line in (header, *rows):
        assert all(line[start - 2 : start] in ("  ", "") for start in starts[1:])
    minilm = next(row for row in rows if " minilm " in row)
    assert "▲ better" in minilm and minilm.startswith("1  SASRec")
    assert "failed: loss is NaN in epoch 3" in next(row for row in rows if "GRU4Rec" in row)
    assert f"failed: {failed.run}: loss is NaN in epoch 3" in lines
    assert "search: dropout {0.3, 0.5}: the same 2 trials for every variant" in lines
    assert str(benchmark.folder / "index.html") in lines[-1]


def test_the_grid_s_note_is_in_all_that_is_written(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.grid().model_copy(update={"note": "Shows the machinery."}).write(benchmark.folder)
    report = write_report(benchmark.folder)
    assert "note: Shows the machinery." in report.lines()
    for name in ("leaderboard.md", "index.html"):
        assert "Shows the machinery." in (benchmark.folder / name).read_text(encoding="utf-8")


def test_whatever_metrics_there_are_are_reported(benchmark: Benchmark) -> None:
    benchmark.metric = "ndcg@7"
    benchmark.add(topk=[7], with_ranks=False)
    report = write_report(benchmark.write())
    assert "ndcg@7" in report.to_pandas()
    assert (benchmark.folder / "figures" / "ndcg_at_7.png").exists()


def test_the_command_line_can_import_the_report_without_its_heavy_libraries() -> None:
    heavy = ["pandas", "numpy", "scipy", "matplotlib", "jinja2", "torch"]
    code = f"import sys, recbole_ext.report; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
