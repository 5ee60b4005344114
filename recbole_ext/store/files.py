"""The files that item vectors in any readable form consist of, and their width, told without reading the vectors."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.errors import StoreError
from recbole_ext.hashing import sha256_of, sha256_of_file
from recbole_ext.store.folder import EMBEDDINGS_FILE, ITEMS_FILE, read_meta
from recbole_ext.store.table_file import TABLE_FORMATS
from recbole_ext.store.tensor_file import TENSOR_FORMATS, token_list_of


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
    return path.suffix in TABLE_FORMATS


def width_of(path: Path) -> int | None:
    """Width of a store folder's vectors or of a ``.npy`` array; ``None`` for other forms."""
    if path.is_dir():
        width = read_meta(path).get("dim")
        return int(width) if width is not None else None
    if path.suffix == ".npy":
        import numpy

        try:
            shape = numpy.load(path, mmap_mode="r", allow_pickle=False).shape
        except (ValueError, EOFError, OSError):
            return None  # what is wrong with it is said where it is read
        return int(shape[1]) if len(shape) == 2 else None
    return None
