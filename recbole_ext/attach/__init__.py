"""The hook that gives a RecBole model its item vectors, keyed by item token."""

from __future__ import annotations

from recbole_ext.attach.hook import MISSING, MODES, Coverage, attach_item_embedding, item_vectors

__all__ = ["MISSING", "MODES", "Coverage", "attach_item_embedding", "item_vectors"]
