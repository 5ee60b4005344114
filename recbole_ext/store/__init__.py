"""The item embedding store: one vector per item token, as plain files."""

from __future__ import annotations

from recbole_ext.store.folder import is_store_folder, read_meta
from recbole_ext.store.item_embedding_store import ItemEmbeddingStore
from recbole_ext.store.preload_weight import export_preload_weight

__all__ = [
    "ItemEmbeddingStore",
    "export_preload_weight",
    "is_store_folder",
    "read_meta",
]
