"""S3-Rec (Zhou et al., CIKM 2020, arXiv 2008.07873) as one run: pre-training, then fine-tuning, in one process.

RecBole's S3Rec takes two calls with a checkpoint between them, and the first one ends without a metric. Here
``train_stage: pretrain`` (RecBole's default) pre-trains for ``pretrain_epochs`` and goes on to fine-tune the same
parameters with a fresh optimiser, which is what RecBole's second call does. ``train_stage: finetune`` with a
``pre_model_path`` stays RecBole's. ``item_attribute`` names the field of the ``.item`` file that pre-training predicts;
it has to be loaded (``load_col``).
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.loss import BPRLoss
from recbole.model.sequential_recommender.s3rec import S3Rec as RecboleS3Rec
from recbole.trainer import S3RecTrainer as RecboleS3RecTrainer
from recbole.trainer import Trainer


class S3Rec(RecboleS3Rec):
    """RecBole's S3Rec, which can go from one stage to the next."""

    def begin_finetuning(self) -> None:
        """Predict the next item from now on, with attention to earlier items alone."""
        self.train_stage = "finetune"
        self.loss_fct = BPRLoss() if self.loss_type == "BPR" else torch.nn.CrossEntropyLoss()


class S3RecTrainer(RecboleS3RecTrainer):
    """Pre-trains and fine-tunes; epochs, metrics and early stopping are those of the fine-tuning."""

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        if self.model.train_stage == "pretrain":
            with torch.autograd.set_detect_anomaly(False):
                for epoch in range(self.pretrain_epochs):
                    Trainer._train_epoch(self, train_data, epoch, show_progress=kwargs.get("show_progress", False))
            self.model.begin_finetuning()
            self.optimizer = self._build_optimizer()
        return super().fit(train_data, valid_data, *args, **kwargs)
