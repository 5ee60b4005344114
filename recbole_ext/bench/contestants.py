"""The two sides of the comparison, each as something that can train an epoch and evaluate once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_ext.compat import make_recbole_work
from recbole_ext.benchmark.protocol import PROTOCOL
from recbole_ext.models import model_class, recbole_config, trainer_class

SIDES = ("stock", "recbole-ext")


@dataclass
class Contestant:
    """A model on a dataset, trained one way."""

    side: str
    trainer: Any
    train_data: Any
    valid_data: Any
    targets_per_epoch: int
    training_samples: str
    epochs_done: int = 0

    def train_epoch(self) -> None:
        self.trainer._train_epoch(self.train_data, self.epochs_done)
        self.epochs_done += 1

    def validate(self) -> float:
        """The validation metric; the evaluation that a training makes after every epoch."""
        return float(self.trainer._valid_epoch(self.valid_data)[0])


def enter(side: str, model: str, dataset: str, settings: dict[str, Any], folder: Path) -> Contestant:
    """Build one side: ``stock`` is RecBole's own dataset, loaders, model and trainer, as RecBole leaves them.

    Stock RecBole trains with autograd's anomaly detection on (its SINE module switches it on at import); so does the
    stock side here.
    """
    make_recbole_work()
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    from recbole_ext.training import prepare
    from recbole_ext.training.trainer import keep_tensorboard_out

    own = {} if side == "stock" else {"eval_batch_size": PROTOCOL["eval_batch_size"]}
    stock_batch = {"eval_batch_size": 4096}
    keys = {**PROTOCOL, **stock_batch, **settings, **own, "show_progress": False, "checkpoint_dir": str(folder)}
    config = recbole_config(model, dataset, keys)
    if side == "stock":
        init_seed(config["seed"], config["reproducibility"])
        torch.autograd.set_detect_anomaly(True)
        train, valid, _ = data_preparation(config, create_dataset(config))
        built = model_class(model)(config, train._dataset).to(config["device"])
        keep_tensorboard_out()
        trainer = trainer_class(config.model_class)(config, built)
        trainer.eval_collector.data_collect(train)
        return Contestant(side, trainer, train, valid, len(train._dataset), "augmented")
    run = prepare(config, folder / "best.pth")
    run.trainer.eval_collector.data_collect(run.loaders.train)
    targets = len(run.loaders.train._dataset)
    return Contestant(side, run.trainer, run.samples.loader, run.loaders.valid, targets, run.samples.name)
