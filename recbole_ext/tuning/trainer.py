"""Hugging Face's Trainer for an :class:`Objective`: batches by length, draws that can be repeated, plain errors."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from recbole_ext.errors import TuningError
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.base import Objective
from recbole_ext.tuning.settings import TuneSettings
from recbole_ext.tuning.unfinished import number_of_processes
from recbole_ext.writing import explaining_failed_writes


class Examples(Dataset):
    """Arrays of item rows, each with the number of its draw.

    Number ``n`` is example ``n % len(examples)`` in epoch ``n // len(examples)``: all that ``collate`` draws follows
    from it, so that a resumed training draws what an undisturbed one does.

    Args:
        domains: which domain each is of, and ``temperature``, at which these are mixed; see :class:`ByLength`.
    """

    def __init__(self, examples: list[np.ndarray], domains: np.ndarray, temperature: float) -> None:
        self.examples, self.domains, self.temperature = examples, domains, temperature

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: int) -> tuple[int, np.ndarray]:
        return draw, self.examples[draw % len(self.examples)]


class ByLength(Sampler[int]):
    """Draws of an epoch in random order, those of similar length in the same batch.

    What is left over from whole batches is not drawn in that epoch, unless it is all there is: a small batch has few
    negatives.

    With a ``temperature`` above 1, an epoch is as long but mixed anew: of a domain with n examples it has a part of
    n^(1/temperature), all of them as often as that allows and some of them, drawn anew, once more (Raffel et al., "T5",
    JMLR 2020, section 3.5.2).

    Args:
        batch_size: examples of a step, on all devices together.
        domains: which domain each example is of, counted from 0, ``[examples]``; by default one.
    """

    def __init__(
        self,
        lengths: list[int],
        batch_size: int,
        seed: int,
        domains: np.ndarray | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0
        self.domains = np.zeros(len(lengths), dtype=int) if domains is None else domains
        self.temperature = temperature

    def __len__(self) -> int:
        examples = len(self.lengths)
        return examples // self.batch_size * self.batch_size or examples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + 1000 * self.epoch)
        first = self.epoch * len(self.lengths)
        self.epoch += 1
        drawn = self._drawn(generator)
        lengths = [self.lengths[index] for index in drawn]
        order = get_length_grouped_indices(lengths, self.batch_size, generator=generator)
        return iter([first + drawn[place] for place in order[: len(self)]])

    def _drawn(self, generator: torch.Generator) -> list[int]:
        """The examples of an epoch, as many as there are."""
        if self.temperature == 1:
            return list(range(len(self.lengths)))
        sizes = np.bincount(self.domains)
        shares = sizes ** (1 / self.temperature)
        ends = np.round(len(self.lengths) * np.cumsum(shares) / shares.sum()).astype(int)
        drawn: list[int] = []
        for domain, wanted in enumerate(np.diff(ends, prepend=0)):
            if not wanted:
                continue
            members = np.flatnonzero(self.domains == domain)
            whole, rest = divmod(int(wanted), len(members))
            some = torch.randperm(len(members), generator=generator)[:rest].numpy()
            drawn += [*np.tile(members, whole).tolist(), *members[some].tolist()]
        return drawn


class ObjectiveTrainer(Trainer):
    """Trainer whose batches hold examples of similar length and whose model returns its own loss.

    Under ``torchrun``, N processes with a batch of B make the steps that one process makes with a batch of N·B: each
    takes its share of the same draws, and each one's items are negatives for all. (Which words are masked and where a
    sequence is cut are drawn per process.)
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        objective = self.accelerator.unwrap_model(self.model)
        batch_size = self.args.train_batch_size * self.args.world_size
        lengths = objective.lengths(dataset.examples)
        return ByLength(lengths, batch_size, self.args.seed, dataset.domains, dataset.temperature)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            with explaining_failed_writes(folder):
                super()._save_checkpoint(*args, **kwargs)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # The one before it is still there.
            raise

    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Any, None, None]:
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach().mean(), None, None


def build_trainer(
    objective: Objective,
    corpus: Corpus,
    training: list[np.ndarray],
    held_out: list[np.ndarray],
    settings: TuneSettings,
    folder: Path,
    show_progress: bool,
) -> ObjectiveTrainer:
    """The trainer of these settings; checkpoints go to ``folder``."""
    if settings.precision == "float16" and not torch.accelerator.is_available():
        raise TuningError("precision: float16: a processor does not train in it. Take bfloat16 or float32, or a GPU.")
    processes = number_of_processes()
    steps = max(1, -(-len(training) // (settings.batch_size * processes * settings.accumulate)))
    evaluated = ("epoch" if settings.evaluate_every == 1 else "steps") if held_out else "no"
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
        use_cpu=not torch.accelerator.is_available(),  # or Trainer refuses bfloat16, which processors have too
        seed=settings.seed,
        logging_steps=max(1, min(50, steps // 5)),
        logging_first_step=True,
        logging_nan_inf_filter=not torch.accelerator.is_available(),  # it waits for the device at every step
        eval_strategy=evaluated,
        eval_steps=max(1, int(settings.evaluate_every * steps)),
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=not show_progress,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        accelerator_config={"non_blocking": torch.cuda.is_available()},
        log_level="error",
    )
    # Of several GPUs in one process, Trainer would make a torch.nn.DataParallel, whose parts don't see each other's
    # negatives. Several GPUs are for torchrun.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return ObjectiveTrainer(
        model=objective,
        args=arguments,
        data_collator=objective.collate,
        train_dataset=_examples(training, corpus, settings),
        eval_dataset=_examples(held_out, corpus, settings) if held_out else None,
    )


def _examples(examples: list[np.ndarray], corpus: Corpus, settings: TuneSettings) -> Examples:
    domains = corpus.domains(np.array([rows[0] for rows in examples]))
    return Examples(examples, domains, settings.source_temperature)
