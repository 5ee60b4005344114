"""Item vectors from language models in RecBole's recommenders: make them, attach them, measure what they bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_ext.api import encode, load_results, plan, run, score, score_plan, study, tune
    from recbole_ext.attach import attach_item_embedding
    from recbole_ext.compat import make_recbole_work
    from recbole_ext.data.dataset import Dataset
    from recbole_ext.lists.evaluate import evaluate
    from recbole_ext.lists.export import export_split
    from recbole_ext.lists.recommend import recommend
    from recbole_ext.store import ItemEmbeddingStore

__version__ = "0.2.0"
__all__ = [
    "Dataset",
    "ItemEmbeddingStore",
    "attach_item_embedding",
    "encode",
    "evaluate",
    "export_split",
    "load_results",
    "make_recbole_work",
    "plan",
    "recommend",
    "run",
    "score",
    "score_plan",
    "study",
    "tune",
]

_HOME = {
    "Dataset": "recbole_ext.data.dataset",
    "ItemEmbeddingStore": "recbole_ext.store",
    "attach_item_embedding": "recbole_ext.attach",
    "evaluate": "recbole_ext.lists.evaluate",
    "export_split": "recbole_ext.lists.export",
    "make_recbole_work": "recbole_ext.compat",
    "recommend": "recbole_ext.lists.recommend",
    **dict.fromkeys(
        ("encode", "load_results", "plan", "run", "score", "score_plan", "study", "tune"), "recbole_ext.api"
    ),
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch and RecBole take seconds to import, and most commands need neither.
    if name in _HOME:
        from importlib import import_module

        from recbole_ext.installation import require_installation

        require_installation()
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
