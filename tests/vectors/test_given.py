"""Vectors that are there already: used in place, checked, told apart by their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import StoreError
from recbole_ext.store import ItemEmbeddingStore, export_preload_weight
from recbole_ext.vectors.given import Store


@pytest.fixture
def store() -> ItemEmbeddingStore:
    return ItemEmbeddingStore(torch.arange(6.0).reshape(3, 2), ["i0", "i1", "i2"])


def test_each_form_is_used_where_it_is(shop: Dataset, store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "folder")
    np.save(tmp_path / "x.npy", store.embeddings.numpy())
    torch.save(store.embeddings, tmp_path / "x.pt")
    (tmp_path / "x.items.txt").write_text("i0\ni1\ni2\n")
    export_preload_weight(store, tmp_path, "shop")
    for name in ("folder", "x.npy", "x.pt", "shop.itememb"):
        source = Store(store=str(tmp_path / name))
        assert source.make_once(shop, tmp_path / "artifacts") == tmp_path / name
        assert torch.equal(ItemEmbeddingStore.load(tmp_path / name).embeddings, store.embeddings)
        assert source.width(shop) == 2
    assert not (tmp_path / "artifacts").exists()


def test_what_is_used_where_it_is_may_lie_where_nothing_can_be_written(
    shop: Dataset, store: ItemEmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions would not stop a test that is run as root, so that every claim is refused here."""

    def refuse(lock: Path, wait: bool) -> None:
        raise PermissionError(lock)

    store.save(tmp_path / "folder")
    monkeypatch.setattr("recbole_ext.vectors.source.claim", refuse)
    assert Store(store=str(tmp_path / "folder")).make_once(shop, tmp_path / "artifacts") == tmp_path / "folder"


def test_a_command_that_makes_vectors_may_hold_other_braces(shop: Dataset, tmp_path: Path) -> None:
    source = Store(store=str(tmp_path / "nowhere"), made_by="awk '{print $1}' {dataset}.txt")
    assert source.missing(shop) == [f"{tmp_path / 'nowhere'}: awk '{{print $1}}' shop.txt"]


def test_a_table_becomes_a_store_of_its_own(shop: Dataset, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("item,a,b\ni0,0,1\ni1,2,3\n")
    source = Store(store=str(tmp_path / "x.csv"), ids="item")
    assert source.width(shop) == 2
    path = source.make_once(shop, tmp_path / "artifacts")
    assert path == source.store_path(shop, tmp_path / "artifacts") != tmp_path / "x.csv"
    assert ItemEmbeddingStore.load(path).items == ["i0", "i1"]
    (tmp_path / "x.csv").write_text("item,a,b\ni0,0,1\ni1,2,4\n")
    assert source.make_once(shop, tmp_path / "artifacts") != path


def test_the_datasets_name_stands_in_the_path(shop: Dataset, store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "images-shop")
    source = Store(store=str(tmp_path / "images-{dataset}"))
    assert source.make_once(shop, tmp_path) == tmp_path / "images-shop"


def test_the_content_is_the_identity_and_the_place_is_not(
    shop: Dataset, store: ItemEmbeddingStore, tmp_path: Path
) -> None:
    store.save(tmp_path / "one")
    store.save(tmp_path / "two")
    one, two = (Store(store=str(tmp_path / name)) for name in ("one", "two"))
    assert one.identity(shop) == two.identity(shop)
    ItemEmbeddingStore(store.embeddings + 1, store.items).save(tmp_path / "two")
    assert one.identity(shop) != two.identity(shop)
    np.save(tmp_path / "x.npy", store.embeddings.numpy())
    (tmp_path / "x.items.txt").write_text("i0\ni1\ni2\n")
    array = Store(store=str(tmp_path / "x.npy"))
    before = array.identity(shop)
    (tmp_path / "x.items.txt").write_text("i1\ni0\ni2\n")
    assert array.identity(shop) != before


def test_what_is_not_there_or_no_store_is_refused_before_it_is_used(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: no such item embedding store"):
        Store(store=str(tmp_path / "nowhere")).make_once(shop, tmp_path)
    with pytest.raises(StoreError, match="draw pictures of shop"):
        Store(store=str(tmp_path / "nowhere"), made_by="draw pictures of {dataset}").make(
            shop, tmp_path / "nowhere", tmp_path
        )
    np.save(tmp_path / "x.npy", np.ones((2, 2)))
    with pytest.raises(StoreError, match="says nothing about which row is which item"):
        Store(store=str(tmp_path / "x.npy")).make_once(shop, tmp_path)
    (tmp_path / "x.items.txt").write_text("i0\ni0\n")
    with pytest.raises(StoreError, match="'i0' in the list of item tokens more than once"):
        Store(store=str(tmp_path / "x.npy")).make_once(shop, tmp_path)


def test_a_table_whose_columns_are_not_named_is_refused_before_anything_is_made(shop: Dataset, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("product,a,b\ni0,1,2\ni1,3,4\n", encoding="utf-8")
    with pytest.raises(StoreError, match="which column holds the item tokens.*product, a, b"):
        Store(store=str(tmp_path / "x.csv")).width(shop)
    with pytest.raises(StoreError, match="ids: there is no column 'prod'"):
        Store(store=str(tmp_path / "x.csv"), ids="prod").width(shop)
    assert Store(store=str(tmp_path / "x.csv"), ids="product").width(shop) == 2
