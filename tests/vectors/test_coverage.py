"""What `encode` says last: how many of the dataset's items have a vector."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from recbole_ext.api import encode
from recbole_ext.claims import claim
from recbole_ext.data.dataset import Dataset
from recbole_ext.store import ItemEmbeddingStore

EVERY = [*(f"i{item}" for item in range(24)), "marker0", "marker1"]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (EVERY, ["26 of 26 items of shop have a vector."]),
        ([*EVERY[:3], "foreign"], ["3 of 26 items", "missing: mean"]),
        (["foreign", "other"], ["0 of 26 items", "look like 'i0'"]),
    ],
    ids=["all", "some", "none"],
)
@pytest.mark.parametrize("form", ["folder", "npy"])
def test_the_last_sentence_says_how_many_of_the_datasets_items_are_covered(
    items: list[str], words: list[str], form: str, shop: Dataset, tmp_path: Path
) -> None:
    given = tmp_path / ("given" if form == "folder" else "given.npy")
    vectors = torch.ones(len(items), 2)
    if form == "folder":
        ItemEmbeddingStore(vectors, items, {}).save(given)
    else:
        np.save(given, vectors.numpy())
        (tmp_path / "given.items.txt").write_text("\n".join(items))
    for out in (tmp_path / "copy", given):
        last = encode(shop, out, store=str(given)).lines()[-1]
        assert all(word in last for word in words), last


def test_the_last_sentence_is_the_same_where_nothing_was_left_to_do(shop: Dataset, tmp_path: Path) -> None:
    first, again = (encode(shop, tmp_path / "store", lexical="tfidf", dim=2) for _ in range(2))
    assert again.up_to_date
    assert first.lines()[-1] == again.lines()[-1] == "26 of 26 items of shop have a vector."


def test_without_interactions_the_coverage_is_said_to_be_unknown(shop: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.item").write_text((shop.folder / "shop.item").read_text())
    alone = Dataset.named("shop", tmp_path, configs=tmp_path)
    last = encode(alone, tmp_path / "store", lexical="tfidf", dim=2).lines()[-1]
    assert "is not known" in last and str(folder) in last


def test_of_two_calls_on_one_store_the_second_waits_for_the_first(shop: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "store"
    second = Thread(target=encode, args=(shop, out), kwargs={"lexical": "tfidf", "dim": 2})
    with claim(tmp_path / ".store.lock", wait=False) as ours:
        assert ours
        second.start()
        second.join(timeout=1)
        assert second.is_alive() and not out.exists()
    second.join()
    assert len(ItemEmbeddingStore.load(out)) == 26
