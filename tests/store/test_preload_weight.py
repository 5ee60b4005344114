"""RecBole's own vector files: written so that RecBole reads them, read so that we get the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from recbole_ext.errors import StoreError, WriteError
from recbole_ext.store import ItemEmbeddingStore, export_preload_weight

INTERACTIONS = """user_id:token\titem_id:token\ttimestamp:float
u1\tA\t1
u1\tB "two"\t2
u1\tC\t3
u2\tC\t1
u2\tA\t2
u2\tD\t3
"""


@pytest.fixture
def store() -> ItemEmbeddingStore:
    vectors = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    return ItemEmbeddingStore(vectors, ["C", "never-bought", 'B "two"', "A"])


@pytest.mark.parametrize("only_interacted", [False, True])
def test_recbole_itself_reads_the_export_and_finds_every_vector_by_token(
    store: ItemEmbeddingStore, tmp_path: Path, only_interacted: bool
) -> None:
    from recbole_ext.compat import make_recbole_work, without_command_line

    make_recbole_work()
    from recbole.config import Config
    from recbole.data import create_dataset

    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "tiny.inter").write_text(INTERACTIONS)
    tokens = {"A", 'B "two"', "C", "D"}
    keys = export_preload_weight(store, folder, "tiny", only=tokens if only_interacted else None)
    keys["load_col"]["inter"] = ["user_id", "item_id", "timestamp"]
    settings = {
        "data_path": str(tmp_path),
        "checkpoint_dir": str(tmp_path / "saved"),
        "train_neg_sample_args": None,
    }
    with without_command_line():
        dataset = create_dataset(Config(model="SASRec", dataset="tiny", config_dict=keys | settings))
    matrix = dataset.get_preload_weight("itememb_id")

    # Padding, four items with interactions, and, unless left out, the item that only the store knows.
    assert dataset.item_num == (5 if only_interacted else 6)
    assert matrix.shape == (dataset.item_num, 5)
    for token, vector in zip(store.items, store.embeddings, strict=True):
        if token in tokens or not only_interacted:
            row = dataset.token2id("item_id", token)
            assert torch.equal(torch.from_numpy(matrix[row]).float(), vector)
    assert not matrix[0].any()
    assert not matrix[dataset.token2id("item_id", "D")].any()


def test_the_config_is_written_beside_the_file(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    keys = export_preload_weight(store, tmp_path, "tiny", suffix="text")
    assert keys["preload_weight"] == {"text_id": "text_vec"}
    assert keys["alias_of_item_id"] == ["text_id"]
    assert yaml.safe_load((tmp_path / "tiny.text.yaml").read_text()) == keys
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.text", "tiny.text.yaml"]


def test_export_and_import_give_back_the_same_store(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    export_preload_weight(store, tmp_path, "tiny")
    assert ItemEmbeddingStore.load(tmp_path / "tiny.itememb").fingerprint() == store.fingerprint()
    assert ItemEmbeddingStore.load(tmp_path / "tiny.itememb").fingerprint() == store.fingerprint()


@pytest.mark.parametrize("scale", [1e-38, 1e-7, 1.0, 1e38])
def test_float32_survives_the_text_form_at_any_scale(scale: float, tmp_path: Path) -> None:
    vectors = torch.randn(20, 8, generator=torch.Generator().manual_seed(1)) * scale
    store = ItemEmbeddingStore(vectors, [str(row) for row in range(20)])
    export_preload_weight(store, tmp_path, "tiny")
    assert torch.equal(ItemEmbeddingStore.load(tmp_path / "tiny.itememb").embeddings, vectors)


def test_only_the_items_asked_for_are_written(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    export_preload_weight(store, tmp_path, "tiny", only=["A", "C", "unknown"])
    assert ItemEmbeddingStore.load(tmp_path / "tiny.itememb").items == ["C", "A"]


def test_other_columns_and_other_names_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "tiny.ent"
    path.write_text("weight:float\tent_vec:float_seq\tent_id:token\r\n1\t1 2\ta\r\n2\t3 4\tb\r\n", newline="")
    store = ItemEmbeddingStore.load(path)
    assert store.items == ["a", "b"]
    assert store.embeddings.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("token", ['"quoted"', "a\tb", "a\nb"])
def test_a_token_that_recbole_would_misread_is_refused(token: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't stand in an atomic file"):
        export_preload_weight(ItemEmbeddingStore(torch.ones(1, 2), [token]), tmp_path, "tiny")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("i:token\tv:float_seq\na\t1 2\nb\t1\n", "line 3: a vector of width 1, where others have 2"),
        ("i:token\tv:float_seq\na\t\nb\t1 2\nc\t3 4\n", "line 2: a vector of width 0, where others have 2"),
        ("i:token\tv:float_seq\na\t1 x\n", "line 2: could not convert"),
        ("i:token\tv:float_seq\na 1 2\n", "line 2: 1 fields instead of 2"),
        ("i:token\tv:float_seq\na\t1 2\na\t3 4\n", "'a'.*more than once"),
        ("i:token\tv:float_seq\na\t1 nan\n", "NaN or infinite.*'a'"),
        ("i:token\tv:float_seq\n", "no item"),
        ("i:token\tj:token\tv:float_seq\n", "nothing a store can be read from"),
        ("", "nothing a store can be read from"),
        ("just some text\n", "nothing a store can be read from"),
    ],
)
def test_a_broken_file_is_refused_and_the_line_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.itememb").write_text(content)
    with pytest.raises(StoreError, match=rf"tiny\.itememb.*{message}"):
        ItemEmbeddingStore.load(tmp_path / "tiny.itememb")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(StoreError, match="neither a store folder"):
        ItemEmbeddingStore.load(tmp_path / "picture.png")


def test_a_full_disk_leaves_no_half_written_file(
    store: ItemEmbeddingStore, tmp_path: Path, no_room: Callable[..., Any]
) -> None:
    with no_room(100), pytest.raises(WriteError, match="can't be written"):
        export_preload_weight(store, tmp_path, "tiny")
    assert list(tmp_path.iterdir()) == []
