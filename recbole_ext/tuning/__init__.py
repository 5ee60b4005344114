"""The tune stage: sequences of items with text in, a behaviour-tuned encoder out."""

from __future__ import annotations

from recbole_ext.tuning.settings import TuneSettings
from recbole_ext.tuning.stage import TuneReport, tune
from recbole_ext.tuning.tuning import Tuning

__all__ = ["TuneReport", "TuneSettings", "Tuning", "tune"]
