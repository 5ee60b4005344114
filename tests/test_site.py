"""The documentation as a site, and its pages that are made from the code."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from recbole_ext.benchmark.keys import HOOK_KEYS, MEANINGS, TRAINING_KEYS
from recbole_ext.cli import build_parser
from recbole_ext.vectors import SOURCES

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return runpy.run_path(str(CHECKOUT / ".ci" / "reference.py"))["pages"]()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="recbole-ext[docs] brings MkDocs")
    pytest.importorskip("mkdocstrings", reason="recbole-ext[docs] brings mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ".mkdocs.yml", "-d", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# --- the reference ---


def test_the_committed_reference_is_what_the_code_says(reference: dict[str, str]) -> None:
    for name, text in reference.items():
        path = CHECKOUT / "docs" / "reference" / name
        assert path.read_text(encoding="utf-8") == text, f"{name}: call `make docs` (or python .ci/reference.py)"


def test_every_key_of_the_hook_and_of_training_is_in_words() -> None:
    assert set(MEANINGS) == {*HOOK_KEYS, *TRAINING_KEYS}


def test_every_command_and_every_source_is_there(reference: dict[str, str]) -> None:
    (known,) = (action.choices for action in build_parser()._actions if action.dest == "command")
    for command in known or ():
        assert f"\n## recbole-ext {command}\n" in reference["commands.md"]
    for source in SOURCES:
        assert f"\n### `{source}`\n" in reference["keys.md"]


def test_every_key_and_option_says_what_it_is(reference: dict[str, str]) -> None:
    rows = [line for page in ("keys.md", "commands.md") for line in reference[page].splitlines() if line[:3] == "| `"]
    assert len(rows) > 250
    silent = [row.split(" | ")[0] for row in rows if row.endswith("|  |")]
    assert silent == []


# --- the site ---


def test_no_page_asks_another_server_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?((?:https?:)?//[^\"' >]+)", text)
        for link in re.findall(r"<link[^>]*>", text):
            kind = re.search(r"rel=[\"']?([\w -]+)", link)
            if kind and kind.group(1).strip() not in ("canonical", "next", "prev", "alternate"):
                asked += re.findall(r"href=[\"']?((?:https?:)?//[^\"' >]+)", link)
        assert asked == [], page.name
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")) == []


def test_what_the_pages_link_to_outside_the_docs_is_in_the_site(site: Path) -> None:
    """Files, folders, Markdown and YAML of the repository, and the notebooks."""
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="results/about.html"' in home
    assert 'href="notebooks/does-a-language-model-help-on-my-data.html"' in home
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"href=[\"']?([^\"'#> ]+)", text):
            if not re.match(r"[a-z]+:|/", link):
                assert (page.parent / unquote(link)).exists(), f"{page.relative_to(site)}: {link}"


def test_the_python_api_has_the_verbs_with_their_arguments(site: Path) -> None:
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for anchor in ("recbole_ext.api.encode", "recbole_ext.api.run", "recbole_ext.api.load_results"):
        assert f'id="{anchor}"' in page
    assert "overrides" in page
    assert ":func:" not in page and ":class:" not in page
