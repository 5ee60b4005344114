"""RecBole's own way of shipping vectors: an extra atomic file that ``preload_weight`` turns into a matrix."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from recbole_ext.errors import StoreError
from recbole_ext.store.item_embedding_store import ItemEmbeddingStore
from recbole_ext.writing import replacing_file


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
        StoreError: a token that can't stand in an atomic file.
        WriteError: a file can't be written.
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
    with replacing_file(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{id_field}:token\t{vector_field}:float_seq\n")
        for row in tqdm(rows, desc=f"writing {target.name}", unit="item", disable=None):
            file.write(f"{store.items[row]}\t{line % tuple(store.embeddings[row].tolist())}\n")
    with replacing_file(target.with_name(target.name + ".yaml")) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return config
