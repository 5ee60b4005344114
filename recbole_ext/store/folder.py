"""The files of a store folder, and what can be said about them without loading the vectors.

``embeddings.safetensors`` holds one tensor ``item_embeddings``, ``items.json`` the item tokens in row order,
``meta.json`` where they come from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recbole_ext.errors import StoreError
from recbole_ext.store.pickles import refuse_pickle

TENSOR = "item_embeddings"
EMBEDDINGS_FILE, ITEMS_FILE, META_FILE = "embeddings.safetensors", "items.json", "meta.json"


def is_store_folder(path: Path) -> bool:
    """Whether ``path`` has all the files of a store (their content isn't looked at)."""
    return all((path / name).is_file() for name in (EMBEDDINGS_FILE, ITEMS_FILE, META_FILE))


def has_vectors(path: Path, items: int, dim: int) -> bool:
    """Whether the tensor file of the store folder ``path`` is whole and ``[items, dim]``, by its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path / EMBEDDINGS_FILE, framework="numpy") as file:
            return bool(file.get_slice(TENSOR).get_shape() == [items, dim])
    except (SafetensorError, OSError):
        return False


def refuse_to_overwrite(path: Path) -> None:
    """Raise StoreError when ``path`` holds anything that isn't a store; an empty folder is fine."""
    if path.is_dir() and (is_store_folder(path) or not any(path.iterdir())):
        return
    if path.exists():
        raise StoreError(
            f"{path} exists and is no item embedding store, so it isn't overwritten. Choose another place, "
            "or remove it first."
        )


def read_meta(path: Path) -> dict[str, Any]:
    """``meta.json`` of the store folder ``path``, without loading its vectors.

    Raises:
        StoreError: ``path`` isn't a whole store folder, or the file isn't a JSON object.
    """
    if missing := [name for name in (EMBEDDINGS_FILE, ITEMS_FILE, META_FILE) if not (path / name).is_file()]:
        raise StoreError(
            f"{path} is no complete item embedding store: {', '.join(missing)} is missing. "
            "Remove it and make it again with `recbole-ext encode`."
        )
    meta = read_json(path / META_FILE)
    if not isinstance(meta, dict):
        raise StoreError(f"{path / META_FILE}: expected a JSON object, found {type(meta).__name__}.")
    return meta


def read_json(path: Path) -> Any:
    """The content of a JSON file of the store; StoreError if it isn't JSON."""
    refuse_pickle(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Make the store again with `recbole-ext encode`.") from None
