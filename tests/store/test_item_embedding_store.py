"""The store on disk: what is written is what is read, and whatever contradicts itself is refused by name."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from recbole_ext.errors import StoreError, WriteError
from recbole_ext.store import ItemEmbeddingStore, is_store_folder, read_meta

ITEMS = ["B0-a", "7", "ünï"]


@pytest.fixture
def store() -> ItemEmbeddingStore:
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return ItemEmbeddingStore(vectors, list(ITEMS), {"encoder": "tiny"})


def test_a_loaded_store_equals_the_saved_one(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    loaded = ItemEmbeddingStore.load(tmp_path / "store")
    assert torch.equal(loaded.embeddings, store.embeddings)
    assert loaded.items == ITEMS
    assert loaded.meta["encoder"] == "tiny"
    assert (loaded.meta["dim"], loaded.meta["dtype"], loaded.meta["items"]) == (4, "float32", 3)
    assert loaded.fingerprint() == store.fingerprint() == loaded.meta["fingerprint"]


def test_the_folder_holds_the_three_files_of_the_contract(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    files = {path.name for path in (tmp_path / "store").iterdir()}
    assert files == {"embeddings.safetensors", "items.json", "meta.json"}
    assert list(load_file(tmp_path / "store" / "embeddings.safetensors")) == ["item_embeddings"]
    assert json.loads((tmp_path / "store" / "items.json").read_text(encoding="utf-8")) == ITEMS
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_on_disk_and_read_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    vectors = torch.randn(3, 4).to(dtype)
    half = ItemEmbeddingStore(vectors, ITEMS)
    half.save(tmp_path / "store")
    assert load_file(tmp_path / "store" / "embeddings.safetensors")["item_embeddings"].dtype == dtype
    loaded = ItemEmbeddingStore.load(tmp_path / "store")
    assert loaded.embeddings.dtype == torch.float32
    assert torch.equal(loaded.embeddings, vectors.float())
    assert loaded.fingerprint() == half.fingerprint()
    assert loaded.meta["dtype"] == str(dtype).removeprefix("torch.")


def test_rows_are_found_by_token_and_absent_tokens_are_minus_one(store: ItemEmbeddingStore) -> None:
    assert store.rows(["7", "nowhere", "B0-a", "7"]).tolist() == [1, -1, 0, 1]
    assert store.rows([]).dtype == torch.long


@given(st.permutations(range(3)))
def test_the_fingerprint_tells_every_order_apart(order: list[int]) -> None:
    vectors = torch.arange(12.0).reshape(3, 4)
    store = ItemEmbeddingStore(vectors, ITEMS)
    same = order == [0, 1, 2]
    assert (ItemEmbeddingStore(vectors[order], ITEMS).fingerprint() == store.fingerprint()) is same
    reordered = ItemEmbeddingStore(vectors, [ITEMS[row] for row in order])
    assert (reordered.fingerprint() == store.fingerprint()) is same


@pytest.mark.parametrize(
    ("vectors", "items", "message"),
    [
        (torch.zeros(3, 4), ["a", "b"], "3 rows.*2 entries"),
        (torch.zeros(3, 4), ["a", "b", "a"], "'a'.*more than once"),
        (torch.zeros(3), ["a", "b", "c"], r"n_items, dim.*\[3\]"),
        (torch.zeros(3, 4, dtype=torch.long), ["a", "b", "c"], "int64"),
        (torch.zeros(0, 4), [], "at least one row"),
        (torch.tensor([[0.0], [torch.nan], [torch.inf]]), ["a", "b", "c"], "items 'b', 'c'"),
    ],
)
def test_a_store_that_contradicts_itself_cannot_exist(vectors: torch.Tensor, items: list[str], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        ItemEmbeddingStore(vectors, items)


def test_only_the_first_of_many_offending_items_are_named() -> None:
    with pytest.raises(StoreError, match="'i4' and 95 more"):
        ItemEmbeddingStore(torch.full((100, 2), torch.nan), [f"i{row}" for row in range(100)])


@pytest.mark.parametrize("name", ["embeddings.safetensors", "items.json", "meta.json"])
def test_an_incomplete_folder_is_refused_and_the_missing_file_named(
    name: str, store: ItemEmbeddingStore, tmp_path: Path
) -> None:
    store.save(tmp_path / "store")
    (tmp_path / "store" / name).unlink()
    assert not is_store_folder(tmp_path / "store")
    with pytest.raises(StoreError, match=f"{name} is missing"):
        ItemEmbeddingStore.load(tmp_path / "store")


@pytest.mark.parametrize("name", ["embeddings.safetensors", "items.json", "meta.json"])
def test_a_truncated_file_is_refused_and_named(name: str, store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    path = tmp_path / "store" / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match=f"{name} is damaged"):
        ItemEmbeddingStore.load(tmp_path / "store")


@pytest.mark.parametrize("name", ["embeddings.safetensors", "items.json", "meta.json"])
def test_a_pickle_inside_the_folder_is_refused(name: str, store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    (tmp_path / "store" / name).write_bytes(pickle.dumps(ITEMS))
    with pytest.raises(StoreError, match=f"{name} is a pickle"):
        ItemEmbeddingStore.load(tmp_path / "store")


def test_an_id_list_of_another_length_is_refused(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    (tmp_path / "store" / "items.json").write_text(json.dumps([*ITEMS, "one-more"]))
    with pytest.raises(StoreError, match=r"store: the tensor has 3 rows.* 4 entries"):
        ItemEmbeddingStore.load(tmp_path / "store")


def test_an_id_list_in_another_order_is_refused(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    (tmp_path / "store" / "items.json").write_text(json.dumps([ITEMS[1], ITEMS[0], ITEMS[2]]))
    with pytest.raises(StoreError, match="fingerprint"):
        ItemEmbeddingStore.load(tmp_path / "store")


def test_a_tensor_of_another_width_than_the_meta_file_says_is_refused(
    store: ItemEmbeddingStore, tmp_path: Path
) -> None:
    store.save(tmp_path / "store")
    save_file({"item_embeddings": torch.zeros(3, 5)}, tmp_path / "store" / "embeddings.safetensors")
    with pytest.raises(StoreError, match="dim 4.*width 5"):
        ItemEmbeddingStore.load(tmp_path / "store")


def test_a_tensor_under_another_name_is_refused(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    save_file({"weight": store.embeddings}, tmp_path / "store" / "embeddings.safetensors")
    with pytest.raises(StoreError, match="no tensor 'item_embeddings'; it holds weight"):
        ItemEmbeddingStore.load(tmp_path / "store")


@pytest.mark.parametrize("items", [["a", None, "c"], ["a", 1.5, "c"], ["a", "", "c"], ["a", True, "c"]])
def test_an_entry_that_is_no_token_is_named(items: list[object], store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    (tmp_path / "store" / "items.json").write_text(json.dumps(items))
    with pytest.raises(StoreError, match="entry 1 is"):
        ItemEmbeddingStore.load(tmp_path / "store")


def test_a_store_written_by_hand_needs_no_fingerprint(tmp_path: Path) -> None:
    save_file({"item_embeddings": torch.ones(2, 3)}, tmp_path / "embeddings.safetensors")
    (tmp_path / "items.json").write_text('["a", "b"]')
    (tmp_path / "meta.json").write_text("{}")
    assert ItemEmbeddingStore.load(tmp_path).dim == 3


def test_a_meta_file_that_is_no_object_is_refused(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    (tmp_path / "store" / "meta.json").write_text("[]")
    with pytest.raises(StoreError, match="expected a JSON object, found list"):
        read_meta(tmp_path / "store")


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: no such item embedding store"):
        ItemEmbeddingStore.load(tmp_path / "nowhere")


def test_saving_replaces_a_store(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    ItemEmbeddingStore(torch.ones(1, 2), ["x"]).save(tmp_path / "store")
    store.save(tmp_path / "store")
    assert ItemEmbeddingStore.load(tmp_path / "store").items == ITEMS


def test_saving_never_replaces_anything_else(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("all my work")
    for path in (folder, folder / "chapter.tex"):
        with pytest.raises(StoreError, match="is no item embedding store"):
            store.save(path)
    assert (folder / "chapter.tex").read_text() == "all my work"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, no_room: Callable[..., Any]) -> None:
    with no_room(200), pytest.raises(WriteError, match=r"store can't be written.*File too large.*Free some space"):
        ItemEmbeddingStore(torch.ones(3, 1000), ITEMS).save(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_store_in_place(
    store: ItemEmbeddingStore, tmp_path: Path, no_room: Callable[..., Any]
) -> None:
    store.save(tmp_path / "store")
    with no_room(200), pytest.raises(WriteError):
        ItemEmbeddingStore(torch.ones(3, 1000), ITEMS).save(tmp_path / "store")
    assert ItemEmbeddingStore.load(tmp_path / "store").fingerprint() == store.fingerprint()


# --- tensors with a list of item tokens ---


def test_a_npy_array_with_a_json_list_is_read(tmp_path: Path) -> None:
    matrix = numpy.arange(6, dtype=numpy.float64).reshape(2, 3)
    numpy.save(tmp_path / "x.npy", matrix)
    (tmp_path / "x.items.json").write_text('["a", 17]')
    store = ItemEmbeddingStore.load(tmp_path / "x.npy")
    assert store.items == ["a", "17"]
    assert torch.equal(store.embeddings, torch.arange(6.0).reshape(2, 3))


def test_a_big_endian_npy_array_has_the_same_values(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.arange(6, dtype=">f4").reshape(2, 3))
    (tmp_path / "x.items.json").write_text('["a", "b"]')
    assert ItemEmbeddingStore.load(tmp_path / "x.npy").embeddings.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_a_pt_tensor_with_a_text_list_is_read(tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(torch.ones(2, 3)), tmp_path / "x.pt")
    (tmp_path / "x.items.txt").write_text("a b\nc\n")
    store = ItemEmbeddingStore.load(tmp_path / "x.pt")
    assert store.items == ["a b", "c"]
    assert not store.embeddings.requires_grad


def test_a_tensor_without_a_list_says_how_to_give_one(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.ones((2, 3)))
    with pytest.raises(StoreError, match=r"x\.items\.json.*x\.items\.txt"):
        ItemEmbeddingStore.load(tmp_path / "x.npy")


def test_a_list_of_another_length_than_the_tensor_is_refused(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.ones((2, 3)))
    (tmp_path / "x.items.txt").write_text("a\nb\nc\n")
    with pytest.raises(StoreError, match=r"x\.npy: the tensor has 2 rows.* 3 entries"):
        ItemEmbeddingStore.load(tmp_path / "x.npy")


def test_a_list_that_is_no_json_is_named(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.ones((2, 3)))
    (tmp_path / "x.items.json").write_text("a, b")
    with pytest.raises(StoreError, match=r"x\.npy: its list of item tokens can't be read"):
        ItemEmbeddingStore.load(tmp_path / "x.npy")


def test_whole_numbers_are_no_vectors(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.ones((2, 3), dtype=numpy.int64))
    (tmp_path / "x.items.txt").write_text("a\nb\n")
    with pytest.raises(StoreError, match=r"x\.npy: item embeddings must be .*found int64 \[2, 3\]"):
        ItemEmbeddingStore.load(tmp_path / "x.npy")


def test_a_value_too_large_for_float32_is_refused(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.array([[1e300], [0.0]]))
    (tmp_path / "x.items.txt").write_text("big\nsmall\n")
    with pytest.raises(StoreError, match="NaN or infinite.*'big'"):
        ItemEmbeddingStore.load(tmp_path / "x.npy")


def test_a_pt_file_with_something_else_than_a_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "x.pt")
    with pytest.raises(StoreError, match="holds a dict, not one tensor"):
        ItemEmbeddingStore.load(tmp_path / "x.pt")


# --- pickles ---


class Bomb:
    """A pickle of this touches a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["x.pkl", "x.pickle", "x.npy", "x.pt", "x.pth", "x.itememb", "x"])
def test_no_pickle_is_ever_executed_whatever_its_name(name: str, protocol: int, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded"), protocol=protocol))
    (tmp_path / "x.items.json").write_text('["a"]')
    with pytest.raises(StoreError):
        ItemEmbeddingStore.load(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["x.pkl", "x.npy", "x.pt", "x"])
def test_a_refused_pickle_says_how_to_convert_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": [1.0, 2.0]}))
    with pytest.raises(StoreError, match=r"Nothing is ever unpickled.*numpy\.save"):
        ItemEmbeddingStore.load(tmp_path / name)


def test_a_npy_file_of_objects_is_refused(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "x.items.json").write_text('["a"]')
    with pytest.raises(StoreError, match="Nothing is ever unpickled"):
        ItemEmbeddingStore.load(tmp_path / "x.npy")


def test_a_pt_file_of_python_objects_is_refused(tmp_path: Path) -> None:
    torch.save(Bomb(tmp_path / "exploded"), tmp_path / "x.pt")
    (tmp_path / "x.items.json").write_text('["a"]')
    with pytest.raises(StoreError, match="weights_only=True.*Nothing is ever unpickled"):
        ItemEmbeddingStore.load(tmp_path / "x.pt")
    assert not (tmp_path / "exploded").exists()


def test_a_store_is_described_without_importing_torch(store: ItemEmbeddingStore, tmp_path: Path) -> None:
    store.save(tmp_path / "store")
    code = (
        "import sys; from pathlib import Path; from recbole_ext.store import read_meta; "
        "assert read_meta(Path(sys.argv[1]))['dim'] == 4; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "store")], check=True)
