"""RecBole's trainer of a model, with this package's data path, evaluation and bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import recbole.trainer.trainer as recbole_trainer
import torch
from torch.nn.utils import parametrize
from torch.nn.utils.clip_grad import clip_grad_norm_
from tqdm import tqdm

from recbole_ext.models import trainer_class
from recbole_ext.training.evaluation import LeaveOneOutCollector, RankKeepingEvaluator, ranks_by_user
from recbole_ext.training.freezing import frozen_epochs


class NoTensorboard:
    """Stands in for the ``SummaryWriter`` that RecBole opens in the working directory for every run."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def keep_tensorboard_out() -> None:
    """Let RecBole's trainers log to :class:`NoTensorboard`; a run leaves nothing outside its own folders."""
    recbole_trainer.get_tensorboard = lambda logger: NoTensorboard()


class BenchmarkTrainer:
    """Mixed in before RecBole's own trainer class; see :func:`build_trainer`.

    Attributes:
        curve: one entry per epoch: ``epoch``, ``train_loss``, ``valid`` (the validation metric), and the seconds
            of training and evaluation.
        loss_of_rows: loss of a part of a batch, where the training data come as rows; ``None`` = RecBole's samples.
    """

    loss_of_rows: Callable[[Any, Any], torch.Tensor] | None = None

    def __init__(self, config: Any, model: Any) -> None:
        keep_tensorboard_out()
        super().__init__(config, model)  # type: ignore[call-arg]
        self.eval_collector = LeaveOneOutCollector(config)
        self.evaluator = RankKeepingEvaluator(config)
        self.curve: list[dict[str, float]] = []
        self.frozen_epochs = frozen_epochs(model, config)

    def _train_epoch(self: Any, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        if self.frozen_epochs:
            self.model.item_embedding.requires_grad_(epoch_idx >= self.frozen_epochs)
        # RecBole's SINE module switches anomaly detection on for the whole process when it is imported.
        with torch.autograd.set_detect_anomaly(False):
            if self.loss_of_rows is None:
                loss = super()._train_epoch(train_data, epoch_idx, *args, **kwargs)  # type: ignore[misc]
            else:
                loss = self._train_rows(train_data, epoch_idx, kwargs.get("show_progress", False))
        total = sum(loss) if isinstance(loss, tuple) else loss
        self.curve.append(
            {
                "epoch": epoch_idx,
                "train_loss": float(total) / len(train_data),
                "train_seconds": time.perf_counter() - began,
            }
        )
        return loss

    def _train_rows(self: Any, train_data: Any, epoch_idx: int, show_progress: bool) -> float:
        """One epoch over batches that come in parts; the sum of the batches' mean losses, as RecBole reports it."""
        self.model.train()
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.enable_scaler)
        total = 0.0
        for parts in tqdm(train_data, desc=f"Train {epoch_idx:>4}", disable=not show_progress, leave=False):
            n_targets = sum(len(part["target_row"]) for part in parts)
            self.optimizer.zero_grad()
            for part in parts:
                part = part.to(self.device)
                with ExitStack() as stack:
                    stack.enter_context(parametrize.cached())
                    stack.enter_context(torch.autocast(self.device.type, enabled=self.enable_amp))
                    loss = self.loss_of_rows(self.model, part) * (len(part["target_row"]) / n_targets)
                self._check_nan(loss)
                scaler.scale(loss).backward()
                total += loss.item()
            if self.clip_grad_norm:
                scaler.unscale_(self.optimizer)
                clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            scaler.step(self.optimizer)
            scaler.update()
        return total

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        began = time.perf_counter()
        score, result = super()._valid_epoch(valid_data, show_progress=show_progress)  # type: ignore[misc]
        self.curve[-1] |= {"valid": float(score), "valid_seconds": time.perf_counter() - began}
        return score, result

    def evaluate(self, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        # Cached: a parametrized item matrix (adapter, bounded) is computed once, not once per batch.
        with parametrize.cached():
            return super().evaluate(eval_data, *args, **kwargs)  # type: ignore[misc]

    def test_ranks(self, test_data: Any) -> np.ndarray | None:
        """Ranks of the last evaluation by user, uint8 ``[users]``; ``None`` for metrics that need no ranking."""
        ranks = self.evaluator.ranks
        return None if ranks is None else ranks_by_user(ranks, test_data)

    @property
    def best_epoch(self) -> int:
        """The epoch whose checkpoint is the best one."""
        scores = [entry.get("valid", float("-inf")) for entry in self.curve]
        return int(self.curve[int(np.argmax(scores))]["epoch"])


def build_trainer(config: Any, model: Any, checkpoint: Path) -> Any:
    """The trainer class of this model with :class:`BenchmarkTrainer` in front, saving to ``checkpoint``."""
    recbole_class = trainer_class(config["MODEL_TYPE"], config["model"])
    trainer = type(f"Benchmark{recbole_class.__name__}", (BenchmarkTrainer, recbole_class), {})(config, model)
    trainer.saved_model_file = str(checkpoint)
    return trainer
