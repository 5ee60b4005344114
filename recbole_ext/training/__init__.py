"""Training that equals RecBole's objective at a fraction of its cost."""

from __future__ import annotations

from recbole_ext.training.flops import count_flops
from recbole_ext.training.loaders import Loaders, load
from recbole_ext.training.prepare import PreparedRun, prepare
from recbole_ext.training.samples import TRAINING_SAMPLES, TrainingSamples, choose_samples
from recbole_ext.training.team import ALONE, Team
from recbole_ext.training.trainer import BenchmarkTrainer, build_trainer

__all__ = [
    "ALONE",
    "TRAINING_SAMPLES",
    "BenchmarkTrainer",
    "Loaders",
    "PreparedRun",
    "Team",
    "TrainingSamples",
    "build_trainer",
    "choose_samples",
    "count_flops",
    "load",
    "prepare",
]
