"""Hugging Face's Trainer for an :class:`Objective`: batches by length, losses logged, short messages for big problems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from recbole_ext.errors import TuningError
from recbole_ext.tune.objectives import Objective
from recbole_ext.tune.settings import TuneSettings


class Examples(Dataset):
    """Arrays of item rows; what they hold as tokens is put together by the objective's ``collate``."""

    def __init__(self, examples: list[np.ndarray]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.examples[index]


class ObjectiveTrainer(Trainer):
    """Trainer whose batches hold examples of similar length and whose model returns its own loss."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        lengths = self.data_collator.__self__.lengths(dataset.examples)
        generator = torch.Generator().manual_seed(self.args.seed)
        return LengthGroupedSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps, lengths=lengths, generator=generator
        )

    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Any, None, None]:
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach().mean(), None, None


def build_trainer(
    objective: Objective,
    training: list[np.ndarray],
    held_out: list[np.ndarray],
    settings: TuneSettings,
    folder: Path,
    show_progress: bool,
) -> ObjectiveTrainer:
    """The trainer of these settings; checkpoints go to ``folder``."""
    steps = max(1, -(-len(training) // (settings.batch_size * settings.accumulate)))
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=int(settings.warmup * steps * settings.epochs),
        lr_scheduler_type="linear",
        bf16=settings.precision == "bfloat16",
        fp16=settings.precision == "float16",
        seed=settings.seed,
        logging_steps=max(1, min(50, steps // 5)),
        logging_first_step=True,
        eval_strategy="epoch" if held_out else "no",
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=not show_progress,
        remove_unused_columns=False,
        dataloader_drop_last=len(training) > settings.batch_size,
        dataloader_pin_memory=torch.cuda.is_available(),
        log_level="error",
    )
    return ObjectiveTrainer(
        model=objective,
        args=arguments,
        data_collator=objective.collate,
        train_dataset=Examples(training),
        eval_dataset=Examples(held_out) if held_out else None,
    )


def or_say_what_to_lower(train: Callable[[], Any]) -> Any:
    """Run ``train``; where memory runs out, say which settings bound it.

    Raises:
        TuningError: out of memory.
    """
    try:
        return train()
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error).lower()
        is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or "memory" in text
        if not is_memory:
            raise
        raise TuningError(
            "out of memory while tuning: lower batch_size (and raise accumulate to keep the step), max_tokens or "
            "max_items, or set gradient_checkpointing or precision: bfloat16."
        ) from error
