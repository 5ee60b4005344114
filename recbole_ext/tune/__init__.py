"""The tune stage: sequences of items with text in, a behaviour-tuned encoder out."""

from recbole_ext.tune.settings import TuneSettings
from recbole_ext.tune.stage import TuneReport, tune

__all__ = ["TuneReport", "TuneSettings", "tune"]
