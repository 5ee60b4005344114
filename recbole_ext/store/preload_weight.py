"""RecBole's own way of shipping vectors: an extra atomic file that ``preload_weight`` turns into a matrix."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import StoreError
from recbole_ext.store.pickles import refuse_pickle
from recbole_ext.store.write_errors import explaining_write_errors
from recbole_ext.writing import replacing_file

if TYPE_CHECKING:
    from recbole_ext.store.item_embedding_store import ItemEmbeddingStore


def export_preload_weight(
    store: ItemEmbeddingStore,
    folder: Path,
    dataset_name: str,
    suffix: str = "itememb",
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Write ``folder/DATASET.SUFFIX`` for RecBole, and ``DATASET.SUFFIX.yaml`` with the config that uses it.

    After ``create_dataset``, ``dataset.get_preload_weight("SUFFIX_id")`` is the matrix in RecBole's order of
    items, with a zero row for padding and for items without a vector.

    RecBole counts every token of the file as an item of the dataset, also one that nobody interacted with,
    and full ranking then ranks it. Pass the tokens of the ``.inter`` file as ``only`` to leave such items
    out.

    Args:
        folder: the dataset's own folder, where ``DATASET.inter`` lies.
        dataset_name: RecBole's ``dataset``.
        suffix: the file's suffix, and the beginning of its field names.
        only: item tokens to write; all of the store's when absent.

    Returns:
        The config keys. ``load_col`` names the new file alone: RecBole loads nothing that isn't in it, so add
        the columns of ``inter`` that you load.

    Raises:
        StoreError: a token that can't stand in an atomic file, or a file that can't be written.
    """
    import yaml
    from tqdm import tqdm

    id_field, vector_field = f"{suffix}_id", f"{suffix}_vec"
    rows = [row for row, token in enumerate(store.items) if only is None or token in only]
    for token in (store.items[row] for row in rows):
        if token.startswith('"') or any(character in token for character in "\t\n\r"):
            raise StoreError(
                f"item token {token!r} can't stand in an atomic file: RecBole takes a leading quote, a tab "
                "or a line break for its own. Rename the item in the dataset and in the store."
            )
    config = {
        "additional_feat_suffix": [suffix],
        "load_col": {suffix: [id_field, vector_field]},
        "alias_of_item_id": [id_field],
        "preload_weight": {id_field: vector_field},
    }
    target = folder / f"{dataset_name}.{suffix}"
    # Nine digits give back the same float32.
    line = " ".join(["%.9g"] * store.dim)
    with explaining_write_errors(target, "Free some space or choose another folder, and repeat."):
        with replacing_file(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{id_field}:token\t{vector_field}:float_seq\n")
            for row in tqdm(rows, desc=f"writing {target.name}", unit="item", disable=None):
                file.write(f"{store.items[row]}\t{line % tuple(store.embeddings[row].tolist())}\n")
        with replacing_file(target.with_name(target.name + ".yaml")) as temporary:
            temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return config


def import_preload_weight(path: Path) -> ItemEmbeddingStore:
    """Read an atomic file with one ``token`` and one ``float_seq`` column, as ``preload_weight`` uses it.

    Other columns are ignored. Values are read as float32.

    Raises:
        StoreError: not such a file, or a line (named) whose vector is broken or of another width.
    """
    import numpy
    import torch

    from recbole_ext.store.item_embedding_store import ItemEmbeddingStore

    refuse_pickle(path)
    items: list[str] = []
    vectors: list[numpy.ndarray] = []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            kinds = [column.rpartition(":")[2] for column in file.readline().rstrip("\r\n").split("\t")]
            if kinds.count("token") != 1 or kinds.count("float_seq") != 1:
                raise StoreError(
                    f"{path} is nothing a store can be read from. Offer a store folder, a .npy or .pt tensor "
                    "with its list of item tokens, or an atomic file whose first line has one ':token' and "
                    "one ':float_seq' column."
                )
            id_column, vector_column = kinds.index("token"), kinds.index("float_seq")
            for number, line in enumerate(file, start=2):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) != len(kinds):
                    raise StoreError(f"{path}, line {number}: {len(cells)} fields instead of {len(kinds)}.")
                items.append(cells[id_column])
                vectors.append(_parse_vector(cells[vector_column], path, number))
                if len(vectors[-1]) != len(vectors[0]):
                    raise StoreError(
                        f"{path}, line {number}: a vector of width {len(vectors[-1])}, the first has {len(vectors[0])}."
                    )
    except UnicodeDecodeError:
        raise StoreError(
            f"{path} is neither a store folder, nor a .npy or .pt tensor, nor a text file RecBole could read."
        ) from None
    if not items:
        raise StoreError(f"{path} has a header but no item.")
    try:
        meta = {"source": path.name}
        return ItemEmbeddingStore(torch.from_numpy(numpy.stack(vectors)), items, meta)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None


def _parse_vector(cell: str, path: Path, number: int) -> Any:
    import numpy

    try:
        return numpy.array(cell.split(), dtype=numpy.float32)
    except ValueError as error:
        raise StoreError(f"{path}, line {number}: {error}.") from None
