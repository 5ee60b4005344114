"""``recbole-ext bench options``: do mixed precision, ``torch.compile`` or loader workers help on this machine?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from recbole_ext.bench.contestants import Contestant, enter
from recbole_ext.bench.measuring import take_turns
from recbole_ext.data.dataset import Dataset
from recbole_ext.runs.trial import lone_run


def run_options(dataset: Dataset, model: str, repeats: int, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Median seconds per epoch of this package's path as it is and with each option, in turns; returns the result.

    ``compile`` compiles the loss (and all below it) for changing shapes, its first epoch is a warm-up that does not
    count. ``building batches`` is an epoch's batches without any training: what workers could hide at most.
    """
    from recbole_ext.machine import device_in_words

    options: dict[str, dict[str, Any]] = {"as it is": {}, "enable_amp": {"enable_amp": True}, "torch.compile": {}}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            name: enter("recbole-ext", lone_run(model, dataset, {**(settings or {}), **keys}, Path(folder)))
            for name, keys in options.items()
        }
        _compile(sides["torch.compile"])
        work: dict[str, Callable[[], None]] = {name: side.train_epoch for name, side in sides.items()}
        work["building batches"] = lambda: [None for _ in sides["as it is"].train_data].clear()
        for name in list(work):
            try:
                work[name]()
            except Exception as error:  # a compiler or a dtype that this machine lacks is a finding
                failures[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                del work[name]
        seconds = take_turns(work, repeats, f"{dataset.name} {model}")
        device = device_in_words(sides["as it is"].trainer.device)
    return {
        "dataset": dataset.name,
        "model": model,
        "device": device,
        "seconds": seconds,
        "medians": {name: median(values) for name, values in seconds.items()},
        "failures": failures,
    }


def options_table(result: dict[str, Any]) -> list[str]:
    """The medians as a Markdown table."""
    base = result["medians"]["as it is"]
    lines = [
        f"| {result['dataset']}, {result['model']} | seconds per epoch | of the epoch as it is |",
        "| --- | ---: | ---: |",
    ]
    lines += [f"| {name} | {value:.2f} | {value / base:.0%} |" for name, value in result["medians"].items()]
    return lines + [f"| {name} | – | {reason} |" for name, reason in result["failures"].items()]


def _compile(contestant: Contestant) -> None:
    """Compile the loss that the contestant's epochs call: of rows there is one of their own."""
    trainer = contestant.trainer
    if trainer.loss_of_rows is not None:
        trainer.loss_of_rows = torch.compile(trainer.loss_of_rows, dynamic=True)
    else:
        trainer.model.calculate_loss = torch.compile(trainer.model.calculate_loss, dynamic=True)
