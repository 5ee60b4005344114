"""Item vectors from language models in RecBole's recommenders: make them, attach them, measure what they bring."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["ItemEmbeddingStore", "attach_item_embedding", "make_recbole_work"]

_HOME = {
    "ItemEmbeddingStore": "recbole_ext.store",
    "attach_item_embedding": "recbole_ext.attach",
    "make_recbole_work": "recbole_ext.compat",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch and RecBole take seconds to import, and most commands need neither.
    if name in _HOME:
        from importlib import import_module

        from recbole_ext.installation import require_installation

        require_installation()
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
