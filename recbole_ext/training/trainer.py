"""RecBole's trainer of a model, with this package's data path, evaluation and bookkeeping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import recbole.trainer.trainer as recbole_trainer
import torch
from torch.nn.utils import parametrize
from torch.nn.utils.clip_grad import clip_grad_norm_
from tqdm import tqdm

from recbole_ext.attach import item_tables
from recbole_ext.losses_of_epoch import LossesOfEpoch
from recbole_ext.mixed_precision import mixed_precision
from recbole_ext.models import has_recboles_epochs, trainer_class
from recbole_ext.moving import moved
from recbole_ext.records.ranks import packed
from recbole_ext.training.evaluation import (
    MAXIMUM_PAIRS,
    LeaveOneOutCollector,
    RankKeepingEvaluator,
    ranks_by_user,
    scores_all_items_at_once,
)
from recbole_ext.training.freezing import frozen_epochs
from recbole_ext.training.objective import LossOfRows
from recbole_ext.training.sampled_ranking import Candidates
from recbole_ext.training.shares import share_of_rows, share_of_samples
from recbole_ext.training.team import ALONE, Team

OnEpoch: TypeAlias = Callable[[list[dict[str, float]], int, int], None]
"""Is called after each epoch with the curve so far (see :class:`recbole_ext.records.record.Epoch`), the number of
epochs that there are at most, and 1 where a higher validation score is better, else -1."""


class NoTensorboard:
    """Stands in for the ``SummaryWriter`` that RecBole opens in the working directory for every run."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def keep_tensorboard_out() -> None:
    """Let RecBole's trainers log to :class:`NoTensorboard`; a run leaves nothing outside its own folders."""
    recbole_trainer.get_tensorboard = lambda logger: NoTensorboard()


class BenchmarkTrainer:
    """Mixed in before RecBole's own trainer class; see :func:`build_trainer`.

    Args:
        loss_of_rows: loss of a part of a batch, where the training data come as rows; ``None`` = RecBole's samples.
        team: the processes that share the run.

    Attributes:
        n_ranked_items: what the evaluation in progress ranks; scores of items with larger ids are left out.
        curve: one entry per epoch: ``epoch``, ``train_loss``, ``valid`` (the validation metric), and the seconds
            of training and evaluation.
        epoch_limit: epochs that there are at most, of all stages together; RECFORMER's trainer sets its own.
        on_epoch: is called with ``curve``, ``epoch_limit`` and ``direction`` whenever the curve has grown.
    """

    def __init__(
        self, config: Any, model: Any, checkpoint: Path, loss_of_rows: LossOfRows | None = None, team: Team = ALONE
    ) -> None:
        keep_tensorboard_out()
        super().__init__(config, model)  # type: ignore[call-arg]
        self.saved_model_file = str(checkpoint)
        self.loss_of_rows = loss_of_rows
        self.team = team
        self.eval_collector = LeaveOneOutCollector(config, team)
        self.evaluator = RankKeepingEvaluator(config)
        self.curve: list[dict[str, float]] = []
        self.epoch_limit = int(config["epochs"])
        self.on_epoch: OnEpoch | None = None
        if config["training_samples"] != "augmented" and not scores_all_items_at_once(config.model_class):
            self.test_batch_size = max(config["eval_batch_size"], MAXIMUM_PAIRS)
        self.frozen_epochs = frozen_epochs(model, config)

    def _train_epoch(self: Any, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        if self.frozen_epochs:
            for table in item_tables(self.model, self.config["ITEM_ID_FIELD"]):
                table.embedding.requires_grad_(epoch_idx >= self.frozen_epochs)
        # RecBole's SINE module switches anomaly detection on for the whole process when it is imported.
        with torch.autograd.set_detect_anomaly(False):
            n_batches = len(train_data)
            if self.loss_of_rows is not None:
                loss, n_batches = self._train_rows(train_data, epoch_idx, kwargs.get("show_progress", False))
            elif has_recboles_epochs(self.config.model_class) and not args:
                loss = self._train_samples(train_data, epoch_idx, kwargs.get("show_progress", False))
            else:
                loss = super()._train_epoch(train_data, epoch_idx, *args, **kwargs)  # type: ignore[misc]
        total = sum(loss) if isinstance(loss, tuple) else loss
        seconds = time.perf_counter() - began
        self._keep({"epoch": epoch_idx, "train_loss": float(total) / n_batches, "train_seconds": seconds})
        return loss

    def _train_at_once(self, train_data: Any, valid_data: Any) -> None:
        """The whole training of a boosted tree, for which there is no loss of an epoch."""
        began = time.perf_counter()
        super()._train_at_once(train_data, valid_data)  # type: ignore[misc]
        self._keep({"epoch": len(self.curve), "train_seconds": time.perf_counter() - began})

    def _keep(self, epoch: dict[str, float]) -> None:
        self.curve.append(epoch)
        self._tell()

    def _tell(self) -> None:
        if self.on_epoch is not None:
            self.on_epoch(self.curve, self.epoch_limit, self.direction)

    def _mixed_precision(self: Any) -> torch.autocast:
        return mixed_precision(self.device, self.enable_amp, self.enable_scaler)

    def _train_rows(self: Any, train_data: Any, epoch_idx: int, show_progress: bool) -> tuple[float, int]:
        """One epoch over batches that come in parts: the sum of the batches' mean losses, as RecBole reports it, and
        how many these were: a loader of rows can't tell exactly beforehand."""
        self.model.train()
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.enable_scaler)
        losses, n_batches = LossesOfEpoch(), 0
        for parts in tqdm(train_data, desc=f"Train {epoch_idx:>4}", disable=not show_progress, leave=False):
            n_batches += 1
            n_targets = sum(len(part["target_row"]) for part in parts)
            self.optimizer.zero_grad()
            for part in parts:
                part, counted = share_of_rows(part, self.team, (self.model.ITEM_ID, self.model.NEG_ITEM_ID))
                part = moved(part, self.device)
                with ExitStack() as stack:
                    stack.enter_context(parametrize.cached())
                    stack.enter_context(self._mixed_precision())
                    loss = self.loss_of_rows(self.model, part) * (counted / n_targets)
                losses.add(loss)
                scaler.scale(loss).backward()
            self.team.add_gradients(self.model)
            if self.clip_grad_norm:
                scaler.unscale_(self.optimizer)
                clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            scaler.step(self.optimizer)
            scaler.update()
        (total,) = self.team.sums(losses.sums())
        return total, max(n_batches, 1)

    def _train_samples(self: Any, train_data: Any, epoch_idx: int, show_progress: bool) -> float | tuple[float, ...]:
        """An epoch of RecBole's ``Trainer``, to the last bit, that asks the device for the losses once, at its end."""
        self.model.train()
        scaler = torch.amp.GradScaler("cuda", enabled=self.enable_scaler)  # none on a CPU, as RecBole's
        losses = LossesOfEpoch()
        loss: Any = None
        for samples in tqdm(train_data, desc=f"Train {epoch_idx:>4}", disable=not show_progress, leave=False):
            samples, share = share_of_samples(samples, self.team)
            samples = moved(samples, self.device)
            self.optimizer.zero_grad()
            # Cached: a matrix that is made of vectors is made, and drawn, once a batch and not at every use.
            with parametrize.cached(), self._mixed_precision():
                loss = self.model.calculate_loss(samples)
            parts = tuple(part * share for part in (loss if isinstance(loss, tuple) else (loss,)))
            losses.add(*parts)
            scaler.scale(sum(parts) if isinstance(loss, tuple) else parts[0]).backward()
            self.team.add_gradients(self.model)
            if self.clip_grad_norm:
                clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            scaler.step(self.optimizer)
            scaler.update()
        sums = self.team.sums(losses.sums())
        return sums if isinstance(loss, tuple) else sums[0]

    def _save_checkpoint(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.team.leads:
            super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
        self.team.wait()  # who goes on to the test reads it

    def _valid_epoch(self, valid_data: Any, **options: Any) -> Any:
        began = time.perf_counter()
        score, result = super()._valid_epoch(valid_data, **options)  # type: ignore[misc]
        self.curve[-1] |= {"valid": float(score), "valid_seconds": time.perf_counter() - began}
        self._tell()
        return score, result

    def evaluate(self, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        self.eval_collector.begin(eval_data)
        self.n_ranked_items = _n_ranked_items(eval_data._dataset)
        # Cached: a parametrized item matrix (adapter, bounded) is computed once, not once per batch.
        with parametrize.cached():
            return super().evaluate(eval_data, *args, **kwargs)  # type: ignore[misc]

    def _full_sort_batch_eval(self: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """RecBole's, with everything where the scores are."""
        if not self.eval_collector.takes_next():
            return None, None, None, None
        interaction, left_out, positive_u, positive_i = batch
        left_out = moved(left_out, self.device)
        if isinstance(left_out, Candidates):
            left_out = left_out.left_out(self.tot_item_num)
        batch = (moved(interaction, self.device), left_out, positive_u, moved(positive_i, self.device))
        interaction, scores, positive_u, positive_i = super()._full_sort_batch_eval(batch)  # type: ignore[misc]
        scores[:, self.n_ranked_items :] = -torch.inf
        return interaction, scores, positive_u, positive_i

    def _neg_sample_batch_eval(self: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.eval_collector.takes_next():
            return None, None, None, None
        return super()._neg_sample_batch_eval(batch)  # type: ignore[misc]

    @torch.no_grad()
    def scores_of(self: Any, batch: tuple[Any, ...], dataset: Any) -> torch.Tensor:
        """Scores of all items for a batch of a full ranking's loader, ``[users, items]``, as :meth:`evaluate` has them.

        Padding and the items that the batch masks are at minus infinity.
        """
        if self.item_tensor is None:
            self.item_tensor = dataset.get_item_feature().to(self.device)
        self.tot_item_num, self.n_ranked_items = dataset.item_num, _n_ranked_items(dataset)
        return self._full_sort_batch_eval(batch)[1]

    def test_ranks(self: Any, test_data: Any) -> np.ndarray | None:
        """Ranks of the last evaluation by user, see :func:`recbole_ext.records.ranks.packed`.

        ``None`` for metrics that need no ranking, and where a user has several items to find.
        """
        ranks = self.evaluator.ranks
        return None if ranks is None else packed(ranks_by_user(ranks, test_data), max(self.config["topk"]))

    @property
    def tied_targets(self) -> int | None:
        """Of how many targets of the last evaluation the score is another item's too; ``None`` = not counted."""
        return self.eval_collector.tied_targets

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before ``epoch_limit``."""
        return len(self.curve) < self.epoch_limit

    @property
    def direction(self: Any) -> int:
        """1 where a higher validation score is better, else -1."""
        return 1 if self.config["valid_metric_bigger"] else -1

    @property
    def best_epoch(self) -> int:
        """The epoch that RecBole saved: the last of the best, the last of all without validation; -1 before any."""
        best = max((self.direction * entry["valid"] for entry in self.curve if "valid" in entry), default=None)
        saved = [e for e in self.curve if best is None or self.direction * e.get("valid", math.nan) == best]
        return int(saved[-1]["epoch"]) if saved else -1


def _n_ranked_items(dataset: Any) -> int:
    """The items that a split's users are asked among and the padding item: all but where data are cut in time."""
    return getattr(dataset, "n_ranked_items", dataset.item_num)


def build_trainer(
    config: Any, model: Any, checkpoint: Path, loss_of_rows: LossOfRows | None = None, team: Team = ALONE
) -> Any:
    """The trainer class of this model with :class:`BenchmarkTrainer` in front, saving to ``checkpoint``."""
    recbole_class = trainer_class(config.model_class)
    trainer = type(f"Benchmark{recbole_class.__name__}", (BenchmarkTrainer, recbole_class), {})
    return trainer(config, model, checkpoint, loss_of_rows, team)
