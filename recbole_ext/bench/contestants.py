"""The two sides of the comparison, each as something that can train an epoch and evaluate once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from recbole_ext.benchmark import RunSpec
from recbole_ext.compat import make_recbole_work
from recbole_ext.models import trainer_class

SIDES = ("stock", "recbole-ext")
STOCK_EVAL_BATCH = 4096
"""RecBole's own; this package's protocol has a smaller one."""


@dataclass
class Contestant:
    """A model on a dataset, trained one way."""

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


def enter(side: str, spec: RunSpec) -> Contestant:
    """Build one side: ``stock`` is RecBole's own dataset, loaders, model and trainer, as RecBole leaves them.

    Stock RecBole trains with autograd's anomaly detection on (its SINE module switches it on at import); so does the
    stock side here.
    """
    make_recbole_work()
    from recbole_ext.runs.single import build_config
    from recbole_ext.training.prepare import prepare

    if side == "stock":
        return _stock(build_config(replace(spec, config={**spec.config, "eval_batch_size": STOCK_EVAL_BATCH})))
    run = prepare(build_config(spec), spec.artifacts / "best.pth")
    run.trainer.eval_collector.data_collect(run.loaders.train)
    targets = len(run.loaders.train._dataset)
    return Contestant(run.trainer, run.samples.loader, run.loaders.valid, targets, run.samples.name)


def _stock(config: Any) -> Contestant:
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    from recbole_ext.training.trainer import keep_tensorboard_out

    init_seed(config["seed"], config["reproducibility"])
    torch.autograd.set_detect_anomaly(True)
    train, valid, _ = data_preparation(config, create_dataset(config))
    built = config.model_class(config, train._dataset).to(config["device"])
    keep_tensorboard_out()
    trainer = trainer_class(config.model_class)(config, built)
    trainer.eval_collector.data_collect(train)
    return Contestant(trainer, train, valid, len(train._dataset), "augmented")
