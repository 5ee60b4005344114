"""What is told of vectors without reading them: width and items, in every form that they may have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import save_file

from recbole_ext.errors import StoreError
from recbole_ext.store import ItemEmbeddingStore, export_preload_weight
from recbole_ext.store.files import items_of, width_of
from recbole_ext.store.table_file import width_of_table

ITEMS = ["a", "7", "ünï"]
VECTORS = torch.arange(15.0).reshape(3, 5)


def folder(path: Path) -> Path:
    ItemEmbeddingStore(VECTORS, ITEMS).save(path / "store")
    return path / "store"


def beside_tokens(path: Path) -> Path:
    path.with_suffix(".items.json").write_text(json.dumps(ITEMS), encoding="utf-8")
    return path


def npy(path: Path) -> Path:
    numpy.save(path / "x.npy", VECTORS.numpy())
    return beside_tokens(path / "x.npy")


def pt(path: Path) -> Path:
    torch.save(VECTORS, path / "x.pt")
    return beside_tokens(path / "x.pt")


def safetensors(path: Path) -> Path:
    save_file({"vectors": VECTORS.bfloat16()}, path / "x.safetensors")
    return beside_tokens(path / "x.safetensors")


def atomic(path: Path) -> Path:
    export_preload_weight(ItemEmbeddingStore(VECTORS, ITEMS), path, "x")
    return path / "x.itememb"


FORMS = [folder, npy, pt, safetensors, atomic]


@pytest.mark.parametrize("form", FORMS)
def test_width_and_items_are_those_of_the_vectors(form: Callable[[Path], Path], tmp_path: Path) -> None:
    path = form(tmp_path)
    loaded = ItemEmbeddingStore.load(path)
    assert width_of(path) == loaded.dim == 5
    assert items_of(path) == loaded.items == ITEMS


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_damaged_file_has_no_width(form: Callable[[Path], Path], tmp_path: Path) -> None:
    path = form(tmp_path)
    path.write_bytes(b"half" + path.read_bytes()[:10])
    assert width_of(path) is None


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("vectors", [None, "v"])
def test_the_width_of_a_text_table_is_that_of_its_first_row(tmp_path: Path, suffix: str, vectors: str | None) -> None:
    lines = ["item v", "a 1|2|3", "b broken"] if vectors else ["item x y z", "a 1 2 3", "b broken 2 3"]
    path = tmp_path / f"x{suffix}"
    separator = "\t" if suffix == ".tsv" else ","
    path.write_text("\n".join(line.replace(" ", separator).replace("|", " ") for line in lines) + "\n")
    assert width_of_table(path, "item", vectors) == 3
    with pytest.raises(StoreError, match="ids: there is no column 'id'"):
        width_of_table(path, "id", vectors)


@pytest.mark.parametrize("index", [None, "item"])
@pytest.mark.parametrize("vectors", [None, "v"])
def test_the_width_of_a_parquet_table_is_that_of_its_vectors(
    tmp_path: Path, index: str | None, vectors: str | None
) -> None:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    import pandas

    columns = {"v": VECTORS.tolist()} if vectors else {f"d{n}": VECTORS[:, n].tolist() for n in range(5)}
    table = pandas.DataFrame({"item": ITEMS, **columns})
    (table.set_index(index) if index else table).to_parquet(tmp_path / "x.parquet")
    assert width_of_table(tmp_path / "x.parquet", "item", vectors) == 5
    assert ItemEmbeddingStore.load(tmp_path / "x.parquet", "item", vectors).dim == 5


def test_a_byte_order_mark_is_no_part_of_the_first_token(tmp_path: Path) -> None:
    path = npy(tmp_path)
    for beside in ("x.items.json", "x.items.txt"):
        for others in tmp_path.glob("x.items.*"):
            others.unlink()
        text = json.dumps(ITEMS) if beside.endswith(".json") else "\n".join(ITEMS) + "\n"
        (tmp_path / beside).write_text(text, encoding="utf-8-sig")
        assert ItemEmbeddingStore.load(path).items == ITEMS
    of_folder = folder(tmp_path) / "items.json"
    of_folder.write_text(of_folder.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert ItemEmbeddingStore.load(of_folder.parent).items == ITEMS
