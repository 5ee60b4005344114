"""Training that equals RecBole's objective at a fraction of its cost."""

from __future__ import annotations

from recbole_ext.training.data_path import TRAINING_SAMPLES, DataPath, Loaders, choose_data_path, load
from recbole_ext.training.freezing import freeze_blocks
from recbole_ext.training.trainer import BenchmarkTrainer, build_trainer

__all__ = [
    "TRAINING_SAMPLES",
    "BenchmarkTrainer",
    "DataPath",
    "Loaders",
    "build_trainer",
    "choose_data_path",
    "freeze_blocks",
    "load",
]
