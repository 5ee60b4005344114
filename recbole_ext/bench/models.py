"""``recbole-ext bench models``: what an epoch and an evaluation of several models cost beside each other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.bench.contestants import Contestant, enter
from recbole_ext.bench.measuring import take_turns
from recbole_ext.data.dataset import Dataset
from recbole_ext.runs.trial import lone_run


def run_models(
    dataset: Dataset, models: Sequence[str], repeats: int, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Median seconds of an epoch and of an evaluation of each of ``models``, in turns, each with its own defaults.

    An epoch of each comes first that does not count: a process's first steps are slower than the others.

    Args:
        settings: RecBole keys of all models alike.
    """
    from recbole_ext.machine import device_in_words

    work: dict[str, Callable[[], Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Contestant] = {}
        for model in models:
            sides[model] = enter("recbole-ext", lone_run(model, dataset, settings or {}, Path(folder) / model))
            work |= {f"{model} epoch": sides[model].train_epoch, f"{model} evaluation": sides[model].validate}
            sides[model].train_epoch()
        seconds = take_turns(work, repeats, dataset.name)
        rows = {
            model: {
                "training_samples": side.training_samples,
                "parameters": sum(weight.numel() for weight in side.trainer.model.parameters()),
                "seconds_per_epoch": median(seconds[f"{model} epoch"]),
                "seconds_per_evaluation": median(seconds[f"{model} evaluation"]),
            }
            for model, side in sides.items()
        }
        device = device_in_words(next(iter(sides.values())).trainer.device)
    return {"dataset": dataset.name, "device": device, "seconds": seconds, "models": rows}


def models_table(result: dict[str, Any]) -> list[str]:
    """A row for each model, its times beside the first one's."""
    rows = result["models"]
    first = next(iter(rows))
    columns = ["trained on", "parameters", "seconds per epoch", f"of {first}'s", "seconds per evaluation"]
    lines = [
        f"| {result['dataset']} | {' | '.join(columns)} |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for model, row in rows.items():
        times = row["seconds_per_epoch"] / rows[first]["seconds_per_epoch"]
        lines.append(
            f"| {model} | {row['training_samples']} | {row['parameters']:,} | {row['seconds_per_epoch']:.2f} "
            f"| {times:.2f} | {row['seconds_per_evaluation']:.2f} |"
        )
    return lines
