"""RaCT (Lobel et al., ICLR 2020, arXiv 1906.04281) as one run: actor, critic, then the actor against the critic.

RecBole's RaCT takes three calls with a checkpoint between them, and the first two end without a metric. Here
``train_stage: actor_pretrain`` (RecBole's default) pre-trains the actor and the critic for ``pretrain_epochs`` each and
goes on to the third stage with the same parameters and a fresh optimiser, which is what RecBole's later calls do. Any
other ``train_stage`` with a ``pre_model_path`` stays RecBole's.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender.ract import RaCT as RecboleRaCT
from recbole.trainer import RaCTTrainer as RecboleRaCTTrainer
from recbole.trainer import Trainer

from recbole_ext.errors import ConfigurationError


class RaCT(RecboleRaCT):
    """RecBole's RaCT, which can go from one stage to the next.

    Raises:
        ConfigurationError: the critic is to look at more places than there are items.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        if config["metrics_k"] > dataset.item_num:
            raise ConfigurationError(
                f"metrics_k: RaCT's critic looks at the best {config['metrics_k']} items, and {config['dataset']} has "
                f"{dataset.item_num - 1}. Set it to fewer."
            )
        super().__init__(config, dataset)

    def begin(self, stage: str) -> None:
        """Train the critic alone (``critic_pretrain``), or the actor alone (``finetune``), from now on."""
        self.train_stage = stage
        for network in (self.encoder, self.decoder):
            network.requires_grad_(stage != "critic_pretrain")
        self.critic_net.requires_grad_(stage == "critic_pretrain")


class RaCTTrainer(RecboleRaCTTrainer):
    """Goes through the three stages; epochs, metrics and early stopping are those of the last one."""

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        if self.model.train_stage == "actor_pretrain":
            for following in ("critic_pretrain", "finetune"):
                self._pretrain(train_data, kwargs.get("show_progress", False))
                self.model.begin(following)
                self.optimizer = self._build_optimizer()
        return super().fit(train_data, valid_data, *args, **kwargs)

    def _pretrain(self, train_data: Any, show_progress: bool) -> None:
        with torch.autograd.set_detect_anomaly(False):
            for epoch in range(self.pretrain_epochs):
                Trainer._train_epoch(self, train_data, epoch, show_progress=show_progress)
