"""What can be said of item vectors in any readable form without reading them: their files, items and width."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.errors import StoreError
from recbole_ext.hashing import sha256_of, sha256_of_file
from recbole_ext.store.folder import EMBEDDINGS_FILE, ITEMS_FILE, read_json, read_meta
from recbole_ext.store.item_tokens import parse_item_tokens
from recbole_ext.store.preload_weight_file import read_preload_weight_file
from recbole_ext.store.tensor_file import TENSOR_FORMATS, read_token_list, shape_of_tensor, token_list_of
from recbole_ext.tables import FORMATS


def files_of(path: Path) -> list[Path]:
    """What decides the vectors: of a store folder tensor and tokens, of a tensor file also its list of tokens.

    Raises:
        StoreError: there is nothing at ``path``, or no list of tokens beside a tensor.
    """
    if path.is_dir():
        read_meta(path)
        return [path / EMBEDDINGS_FILE, path / ITEMS_FILE]
    if not path.is_file():
        raise StoreError(f"{path}: no such item embedding store. Make it with `recbole-ext encode`.")
    return [path, token_list_of(path)] if path.suffix in TENSOR_FORMATS else [path]


def fingerprint_of(path: Path) -> str:
    """SHA-256 over the contents of :func:`files_of`."""
    return sha256_of([sha256_of_file(file) for file in files_of(path)])


def is_table(path: Path) -> bool:
    """Whether ``path`` is a table, whose columns have to be named to read vectors from it."""
    return path.suffix in FORMATS


def items_of(path: Path) -> list[str]:
    """The item tokens in row order; the vectors are read only where both stand in one file.

    Raises:
        StoreError: the list is missing or damaged.
    """
    if path.is_dir():
        return parse_item_tokens(read_json(path / ITEMS_FILE), path / ITEMS_FILE)
    return read_token_list(path) if path.suffix in TENSOR_FORMATS else read_preload_weight_file(path)[1]


def width_of(path: Path) -> int | None:
    """Width of the vectors at ``path``, which is no table, by a header or the first row; ``None`` where they are
    damaged."""
    try:
        if path.is_dir():
            return int(read_meta(path)["dim"])
        if path.suffix in TENSOR_FORMATS:
            _, width = shape_of_tensor(path)
            return width
        return read_preload_weight_file(path, most=1)[0].shape[1]
    except Exception:  # of as many types as there are readers; what is wrong is said where the vectors are read
        return None
