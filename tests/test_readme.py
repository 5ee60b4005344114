"""What README and docs tell somebody to type does what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return found


@pytest.mark.slow
def test_the_script_for_someone_who_only_has_recbole_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys.yaml").write_text(
        block("yaml", "item_embedding_mode") + "epochs: 1\nMAX_ITEM_LIST_LENGTH: 5\nshow_progress: false\n",
        encoding="utf-8",
    )
    (tmp_path / "script.py").write_text(block("python", "attach_item_embedding"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # As Python and numpy, old or new, show an OrderedDict of numbers.
    metrics = re.findall(r"'(\w+@\d+)'[,:] (?:np\.float64\()?([\d.]+)", done.stdout)
    assert dict(metrics)["recall@10"] > "0"


def test_the_benchmark_in_the_readme_is_one_that_runs_would_accept(tmp_path: Path) -> None:
    from recbole_ext.benchmark import load_benchmark, resolve

    (tmp_path / "mine.yaml").write_text(block("yaml", "name: mine"), encoding="utf-8")
    benchmark, keys = load_benchmark(tmp_path / "mine.yaml")
    found = resolve(benchmark, keys, "test", "mine.yaml", fetch=False)
    assert [(row.key.model, row.key.variant, len(row.trials), len(row.trials[0])) for row in found.rows] == [
        (model, variant, 4, 3)
        for model in ("SASRec", "GRU4Rec")
        for variant in ("random", "words", "minilm", "shuffled")
    ]


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_every_page_that_the_readme_and_the_docs_name_is_there() -> None:
    for page in [README, *(README.parent / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_table_of_the_performance_page_is_a_file_of_results_performance() -> None:
    section = (README.parent / "docs" / "performance.md").read_text(encoding="utf-8").partition("## What it costs\n")[2]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    files = (README.parent / "results" / "performance").glob("*/*.md")
    made = {line for path in files for line in path.read_text(encoding="utf-8").splitlines()}
    assert len(shown) > 20 and set(shown) <= made


def test_the_table_of_the_readme_is_part_of_the_one_above_the_results() -> None:
    section = README.read_text(encoding="utf-8").partition("## What has been found\n")[2].partition("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    made = (README.parent / "results" / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(shown) > 3 and set(shown) <= set(made)


def test_what_encoding_costs_is_what_was_measured() -> None:
    (file,) = (README.parent / "results" / "performance").glob("*/encode-Scientific.md")
    measured = file.read_text(encoding="utf-8")
    texts = re.search(r"Scientific, ([\d,]+) texts", measured)
    seconds = re.search(r"\| recbole-ext \| ([\d.]+) \|", measured)
    assert texts and seconds
    told = " ".join(README.read_text(encoding="utf-8").split())
    assert f"items, {float(seconds[1]):.0f} s for {texts[1]} with MiniLM on two CPU cores" in told
