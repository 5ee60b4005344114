"""The store itself: what it holds, when it is valid, how it is written and read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import StoreError
from recbole_ext.store.folder import (
    EMBEDDINGS_FILE,
    ITEMS_FILE,
    META_FILE,
    TENSOR,
    read_json,
    read_meta,
    refuse_to_overwrite,
)
from recbole_ext.store.item_tokens import parse_item_tokens
from recbole_ext.store.pickles import refuse_pickle
from recbole_ext.wording import some
from recbole_ext.writing import replacing_folder, write_json

if TYPE_CHECKING:
    from torch import LongTensor, Tensor

ROWS_AT_ONCE = 4096
"""That are looked at in one piece: what is made of them on the way is to be small beside a million vectors."""


@dataclass(frozen=True, eq=False, repr=False)
class ItemEmbeddingStore:
    """Item vectors keyed by item token.

    Attributes:
        embeddings: ``[n_items, dim]``, floating point, finite. A loaded store is always float32, whatever
            the file holds.
        items: the item tokens as they stand in the atomic files, unique, in row order.
        meta: where the vectors come from (``meta.json``).

    Raises:
        StoreError: the tensor isn't a finite 2-D float tensor, or the tokens don't fit its rows.
    """

    embeddings: Tensor
    items: list[str]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.embeddings, self.items)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.embeddings.shape[1])

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"ItemEmbeddingStore({len(self)} items, {self.dim} dimensions, {self.meta.get('encoder', 'no encoder')})"

    def rows(self, tokens: Sequence[str]) -> LongTensor:
        """Row of each token, ``[len(tokens)]``; -1 where the store has no vector for it."""
        import torch

        row_of = {token: row for row, token in enumerate(self.items)}
        return torch.tensor([row_of.get(token, -1) for token in tokens], dtype=torch.long)

    def fingerprint(self) -> str:
        """SHA-256 over tokens and vectors (as float32, so it is the same before saving and after loading)."""
        digest = hashlib.sha256(json.dumps([self.dim, self.items]).encode())
        for rows in self.embeddings.detach().split(ROWS_AT_ONCE):
            digest.update(rows.cpu().float().contiguous().numpy())
        return digest.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the store folder ``path``, whole or not at all; a store already there is replaced.

        The vectors keep their dtype. ``meta.json`` gains ``dim``, ``dtype``, ``items`` and ``fingerprint``.

        Raises:
            StoreError: ``path`` is something else than a store.
            WriteError: it can't be written; a store that was there still is.
        """
        from safetensors.torch import save_file

        path = Path(path)
        refuse_to_overwrite(path)
        meta = self.meta | {
            "dim": self.dim,
            "dtype": str(self.embeddings.dtype).removeprefix("torch."),
            "items": len(self),
            "fingerprint": self.fingerprint(),
        }
        with replacing_folder(path) as folder:
            save_file({TENSOR: self.embeddings.detach().cpu().contiguous()}, folder / EMBEDDINGS_FILE)
            write_json(folder / ITEMS_FILE, self.items)
            write_json(folder / META_FILE, meta)

    @classmethod
    def load(cls, path: Path | str, ids: str | None = None, vectors: str | None = None) -> ItemEmbeddingStore:
        """Read item vectors in any of the forms that are safe to read. Nothing is ever unpickled.

        Args:
            path: a store folder; a ``.npy``, ``.pt`` or ``.safetensors`` tensor with its item tokens beside it in
                ``NAME.items.json`` or ``NAME.items.txt`` (one a line); a ``.parquet``, ``.csv`` or ``.tsv`` table; or
                an atomic file for RecBole's ``preload_weight`` (one ``token`` and one ``float_seq`` column).
            ids: of a table, the column of item tokens.
            vectors: of a table, the column of vectors; by default every other column is a dimension.

        Raises:
            StoreError: missing, incomplete, damaged, unsafe or contradictory files.
        """
        from recbole_ext.store.preload_weight_file import read_preload_weight_file
        from recbole_ext.store.table_file import read_table_file
        from recbole_ext.store.tensor_file import TENSOR_FORMATS, read_tensor_file
        from recbole_ext.tables import FORMATS

        path = Path(path).expanduser()
        if path.is_dir():
            return _load_folder(path)
        if not path.exists():
            raise StoreError(f"{path}: no such item embedding store. Make it with `recbole-ext encode`.")
        if path.suffix in FORMATS:
            return _build(path, *read_table_file(path, ids, vectors), {"source": path.name})
        read = read_tensor_file if path.suffix in TENSOR_FORMATS else read_preload_weight_file
        return _build(path, *read(path), {"source": path.name})


def _load_folder(path: Path) -> ItemEmbeddingStore:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    meta = read_meta(path)
    items = parse_item_tokens(read_json(path / ITEMS_FILE), path / ITEMS_FILE)
    refuse_pickle(path / EMBEDDINGS_FILE)
    try:
        tensors = load_file(path / EMBEDDINGS_FILE)
    except (SafetensorError, OSError) as error:
        raise StoreError(
            f"{path / EMBEDDINGS_FILE} is damaged ({error}). Make the store again with `recbole-ext encode`."
        ) from error
    if TENSOR not in tensors:
        raise StoreError(
            f"{path / EMBEDDINGS_FILE} has no tensor {TENSOR!r}; it holds {', '.join(tensors) or 'nothing'}."
        )
    store = _build(path, tensors[TENSOR], items, meta)
    if meta.get("dim", store.dim) != store.dim:
        raise StoreError(
            f"{path}: {META_FILE} says dim {meta['dim']}, the tensor has width {store.dim}: the files don't "
            "belong together. Make the store again with `recbole-ext encode`."
        )
    # Equal lengths say nothing about the order: this catches an id list that was shuffled or exchanged.
    if "fingerprint" in meta and meta["fingerprint"] != store.fingerprint():
        raise StoreError(
            f"{path}: vectors and item tokens aren't the ones that {META_FILE} was written for (key "
            "'fingerprint'): a file was changed or exchanged. Make the store again with `recbole-ext encode`."
        )
    return store


def _build(path: Path, embeddings: Tensor, items: list[str], meta: dict[str, Any]) -> ItemEmbeddingStore:
    """A float32 store; errors name ``path``."""
    try:
        _check(embeddings, items)
        # A second time, because a float64 may be too large for float32.
        return ItemEmbeddingStore(embeddings.float(), items, meta)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None


def _check(embeddings: Tensor, items: list[str]) -> None:
    import torch

    if embeddings.dim() != 2 or 0 in embeddings.shape or not embeddings.is_floating_point():
        raise StoreError(
            "item embeddings must be one floating-point tensor [n_items, dim] with at least one row and "
            f"column, found {str(embeddings.dtype).removeprefix('torch.')} {list(embeddings.shape)}."
        )
    if len(items) != len(embeddings):
        raise StoreError(
            f"the tensor has {len(embeddings)} rows, the list of item tokens {len(items)} entries: they "
            "must be equal, row by row."
        )
    if len(set(items)) != len(items):
        duplicates = [token for token, count in Counter(items).items() if count > 1]
        raise StoreError(f"{_some(duplicates)} in the list of item tokens more than once; keep one row for each.")
    finite = torch.cat([rows.isfinite().all(dim=1) for rows in embeddings.split(ROWS_AT_ONCE)])
    if not finite.all():
        offending = [items[row] for row in (~finite).nonzero().flatten().tolist()]
        raise StoreError(
            f"NaN or infinite values in the vectors of {_some(offending)}; encode these items again (float16 "
            "overflows in some encoders: use bfloat16 or float32)."
        )


def _some(tokens: Sequence[str]) -> str:
    return f"{'item' if len(tokens) == 1 else 'items'} {some(list(map(repr, tokens)))}"
