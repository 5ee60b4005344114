"""The hook that gives a RecBole model its item vectors, keyed by item token."""

from __future__ import annotations

from recbole_ext.attach.hook import (
    ANY_WIDTH,
    MISSING,
    MODES,
    Coverage,
    attach_item_embedding,
    count_covered,
    item_vectors,
    items_to_fit_on,
    new_item_rows,
    new_item_vectors,
)
from recbole_ext.attach.places import ItemTable, Place, item_tables

__all__ = [
    "ANY_WIDTH",
    "MISSING",
    "MODES",
    "Coverage",
    "ItemTable",
    "Place",
    "attach_item_embedding",
    "count_covered",
    "item_tables",
    "item_vectors",
    "items_to_fit_on",
    "new_item_rows",
    "new_item_vectors",
]
