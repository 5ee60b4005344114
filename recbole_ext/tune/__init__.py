"""The tune stage: sequences of items with text in, a behaviour-tuned encoder out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recbole_ext.tune.settings import TuneSettings

if TYPE_CHECKING:
    from recbole_ext.tune.stage import TuneReport

__all__ = ["TuneSettings", "tune"]


def tune(*args: Any, **kwargs: Any) -> TuneReport:
    """Tune an encoder on source domains. See :func:`recbole_ext.tune.stage.tune`."""
    from recbole_ext.tune.stage import tune

    return tune(*args, **kwargs)
