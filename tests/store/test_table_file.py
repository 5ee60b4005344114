"""Vectors from a csv or parquet table, and what is refused of one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext import tables
from recbole_ext.errors import StoreError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.table_file import width_of_table


def csv(folder: Path, text: str, name: str = "x.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def parquet(folder: Path, table: dict[str, Any], **options: Any) -> Path:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    import pandas

    pandas.DataFrame(table, **options).to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def test_every_other_column_is_a_dimension(tmp_path: Path) -> None:
    store = ItemEmbeddingStore.load(csv(tmp_path, "a,item,b\n1,x,2\n3,007,4e-1\n"), ids="item")
    assert store.items == ["x", "007"]
    torch.testing.assert_close(store.embeddings, torch.tensor([[1, 2], [3, 0.4]]))


def test_one_column_may_hold_the_vectors(tmp_path: Path) -> None:
    store = ItemEmbeddingStore.load(csv(tmp_path, "item,title,v\nx,a b,1 2\ny,c,3 4\n"), ids="item", vectors="v")
    torch.testing.assert_close(store.embeddings, torch.tensor([[1.0, 2], [3, 4]]))


def test_row_numbers_beside_one_column_of_vectors_are_not_read(tmp_path: Path) -> None:
    store = ItemEmbeddingStore.load(csv(tmp_path, ",item,v\n0,x,1 2\n1,y,3 4\n"), ids="item", vectors="v")
    torch.testing.assert_close(store.embeddings, torch.tensor([[1.0, 2], [3, 4]]))


def test_tabs_separate_the_columns_of_tsv_and_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = csv(tmp_path, "\ufeffitem\ta\nNA\t1\nNone\t2\n", "x.tsv")
    assert ItemEmbeddingStore.load(path, ids="item").items == ["NA", "None"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("item,a\nx,1\n", {}, r"which column holds the item tokens\? Name it with `ids`; there are item, a"),
        ("item,a\nx,1\n", {"ids": "id"}, "ids: there is no column 'id'; there are item, a"),
        ("item,a\nx,1\n", {"ids": "item", "vectors": "v"}, "vectors: there is no column 'v'"),
        ("item,a\nx,1\n,2\n", {"ids": "item"}, "row 2: the item token in column 'item' is ''"),
        ("item,a\nx,1\nx,2\n", {"ids": "item"}, "'x' in the list of item tokens more than once"),
        ("item,a\nx,1\ny,\n", {"ids": "item"}, "row 2: column 'a' holds '', which is no number"),
        ("item,a\nx,red\n", {"ids": "item"}, "row 1: column 'a' holds 'red'.*name it with `vectors`"),
        (f"item,v\nx,[{'0.1 ' * 99}]\n", {"ids": "item"}, r"holds '.{50,60}…, which is no number"),
        ("item,v\nx,1 2\ny,3\n", {"ids": "item", "vectors": "v"}, "row 2: a vector of width 1, where others have 2"),
        (
            "item,v\nx,1\ny,1 2\nz,3 4\n",
            {"ids": "item", "vectors": "v"},
            "row 1: a vector of width 1, where others have",
        ),
        ("item,v\n", {"ids": "item", "vectors": "v"}, "the table has no rows"),
        (",item,a\n0,x,1\n1,y,2\n", {"ids": "item"}, "column 1 has no name, as pandas writes row numbers.*index="),
        ("item,Unnamed: 0,a\nx,0,1\n", {"ids": "item"}, "column 2 has no name"),
        ("item,v\nx,\ny,1 2\n", {"ids": "item", "vectors": "v"}, "row 1: the vector is missing"),
        ("item,v\nx,1 b\n", {"ids": "item", "vectors": "v"}, "row 1: '1 b' is no vector"),
        ("item,a\nx,inf\n", {"ids": "item"}, "NaN or infinite values in the vectors of item 'x'"),
        ("", {"ids": "item"}, "can't be read as a table"),
        ("item,a\nx,1,2\ny,3,4\n", {"ids": "item"}, r"x\.csv: rows have more fields than the header's 2 \(item, a\)"),
        ("item,a\nx,1,\n", {"ids": "item"}, "rows have more fields than the header's 2"),
        ("item,a\nx,1,2,3\n", {"ids": "item"}, "rows have more fields than the header's 2"),
    ],
)
def test_a_table_that_is_none_of_vectors_is_refused(
    text: str, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=message):
        ItemEmbeddingStore.load(csv(tmp_path, text), **options)


# --- parquet ---


def test_parquet_with_a_column_of_lists(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"item": [7, 8], "v": [[1.0, 2.0], [3.0, 4.0]], "title": ["a", "b"]})
    store = ItemEmbeddingStore.load(path, ids="item", vectors="v")
    assert store.items == ["7", "8"]
    torch.testing.assert_close(store.embeddings, torch.tensor([[1.0, 2], [3, 4]]))


def test_parquet_with_the_ids_in_its_index(tmp_path: Path) -> None:
    import pandas

    path = parquet(tmp_path, {"a": [1.0, 2.0]}, index=pandas.Index(["x", "y"], name="item"))
    assert ItemEmbeddingStore.load(path, ids="item").items == ["x", "y"]


@pytest.mark.parametrize("ids", [None, "item"])
def test_of_parquet_with_the_ids_in_an_index_without_a_name_it_is_told_how_to_name_it(
    ids: str | None, tmp_path: Path
) -> None:
    import pandas

    path = parquet(tmp_path, {"a": [1.0, 2.0]}, index=pandas.Index(["x", "y"]))
    with pytest.raises(StoreError, match=r"index has no name and is left out.*rename_axis"):
        ItemEmbeddingStore.load(path, ids=ids)
    with pytest.raises(StoreError, match=r"there are a\.$"):
        ItemEmbeddingStore.load(parquet(tmp_path, {"a": [1.0, 2.0]}), ids=ids)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"item": ["x", None], "a": [1.0, 2.0]}, "row 2: the item token in column 'item' is missing"),
        ({"item": [1.0, 2.5], "a": [1.0, 2.0]}, "row 1: the item token in column 'item' is 1.0"),
        ({"item": ["x", "x"], "a": [1.0, 2.0]}, "more than once"),
        ({"item": ["x", "y"], "a": [1.0, None]}, "row 2: column 'a' holds missing"),
        ({"item": ["x", "y"], "a": [[1.0], [2.0]]}, "row 1: column 'a' holds .*name it with `vectors`"),
    ],
)
def test_parquet_without_proper_ids_or_numbers_is_refused(table: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=message):
        ItemEmbeddingStore.load(parquet(tmp_path, table), ids="item")


def test_a_broken_parquet_and_a_missing_reader_are_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(StoreError, match="can't be read as a table|pip install pyarrow"):
        ItemEmbeddingStore.load(tmp_path / "x.parquet", ids="item")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match="pip install pyarrow"):
        ItemEmbeddingStore.load(tmp_path / "x.parquet", ids="item")


# --- a tensor of safetensors ---


def test_a_safetensors_tensor_is_read_with_its_list(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"whatever": torch.ones(2, 3)}, tmp_path / "x.safetensors")
    (tmp_path / "x.items.json").write_text('["a", "b"]')
    assert ItemEmbeddingStore.load(tmp_path / "x.safetensors").items == ["a", "b"]
    save_file({"one": torch.ones(2, 3), "two": torch.ones(2, 3)}, tmp_path / "x.safetensors")
    with pytest.raises(StoreError, match="holds one, two; save the matrix of item vectors alone"):
        ItemEmbeddingStore.load(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="is damaged"):
        ItemEmbeddingStore.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_vector_that_is_null_is_blamed_on_its_own_row(tmp_path: Path, row: int) -> None:
    vectors: list[Any] = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    vectors[row] = None
    path = parquet(tmp_path, {"item": ["a", "b", "c"], "v": vectors})
    with pytest.raises(StoreError, match=rf"x\.parquet, row {row + 1}: the vector is missing"):
        ItemEmbeddingStore.load(path, "item", "v")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"x\.csv: two columns are called a"):
        ItemEmbeddingStore.load(csv(tmp_path, "item,a,a\nx,1,2\n"), ids="item")


@pytest.mark.parametrize("names", [["item", "a", "a"], ["item", "item", "a"]])
def test_two_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path, names: list[str]) -> None:
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    columns = [pa.array(["x", "y"]), pa.array(["1", "2"]), pa.array([1.0, 2.0])]
    parquet.write_table(pa.table(columns, names=names), tmp_path / "x.parquet")
    with pytest.raises(StoreError, match=r"x\.parquet: two columns are called"):
        ItemEmbeddingStore.load(tmp_path / "x.parquet", ids="item")


def test_an_index_of_consecutive_numbers_is_a_column_however_the_table_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    path = parquet(tmp_path, {"a": [1.0, 2.0, 3.0]}, index=pandas.RangeIndex(5, 11, 2, name="item"))
    assert width_of_table(path, "item", None) == 1
    monkeypatch.setattr(tables.pieces_of, "__defaults__", (2,))
    assert ItemEmbeddingStore.load(path, ids="item").items == ["5", "7", "9"]


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"item": ["x", "y"], "a": [1.0, 2.0]}, index=["p", "q"])
    assert ItemEmbeddingStore.load(path, ids="item").dim == 1


def test_a_table_is_the_same_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_parquet = parquet(tmp_path, {"item": ["x", "y", "z"], "a": [1.0, 2.0, 3.0]})
    for path in (of_parquet, csv(tmp_path, "item,a\nx,1\ny,2\nz,3\n")):
        whole = ItemEmbeddingStore.load(path, ids="item")
        monkeypatch.setattr(tables.pieces_of, "__defaults__", (2,))
        pieces = ItemEmbeddingStore.load(path, ids="item")
        monkeypatch.undo()
        assert pieces.items == whole.items and torch.equal(pieces.embeddings, whole.embeddings)
