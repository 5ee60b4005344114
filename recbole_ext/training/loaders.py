"""From a RecBole config to the loaders of its three splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.utils import ModelType

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.training.evaluation import bounded_batch_size


@dataclass
class Loaders:
    """The three splits as RecBole's loaders, and the whole dataset they come from."""

    dataset: Any
    train: Any
    valid: Any
    test: Any


def load(config: Any) -> Loaders:
    """Read and split the dataset of ``config`` by RecBole's own rules."""
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and config["benchmark_filename"] is None:
        dataset = SequenceViewDataset(config)
        config["eval_batch_size"] = bounded_batch_size(config["eval_batch_size"], dataset.item_num)
    else:
        dataset = create_dataset(config)
    return Loaders(dataset, *data_preparation(config, dataset))
