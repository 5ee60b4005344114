"""The hook that gives a RecBole model its item vectors, keyed by item token."""

from __future__ import annotations

from recbole_ext.attach.hook import MODES, Coverage, attach_item_embedding, item_vectors, new_item_rows
from recbole_ext.attach.transforms import TRANSFORMS, apply_transforms

__all__ = [
    "MODES",
    "TRANSFORMS",
    "Coverage",
    "apply_transforms",
    "attach_item_embedding",
    "item_vectors",
    "new_item_rows",
]
