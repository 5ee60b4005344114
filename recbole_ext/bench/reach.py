"""``recbole-ext bench reach``: seconds until stock's best validation score, on both sides."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.bench.contestants import SIDES, Contestant, enter
from recbole_ext.bench.measuring import take_turns
from recbole_ext.bench.quality import SETTINGS
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import SourceDataError
from recbole_ext.runs.trial import lone_run


def run_reach(dataset: Dataset, model: str, repeats: int, quality: Path) -> dict[str, Any]:
    """Time epochs of both sides in turns, times the epochs that ``bench quality`` needed; returns the result.

    How many epochs a side takes until the best validation NDCG@10 that stock reached with every seed is a property of
    its training, which ``quality.json`` holds (median over seeds); what an epoch and its evaluation cost is measured
    here with the same settings, so that hours of stock training need not be repeated on a machine kept quiet.

    Raises:
        SourceDataError: ``quality`` is not there or lacks this dataset and model.
    """
    from recbole_ext.machine import device_in_words

    epochs = _epochs(quality, dataset.name, model)
    with tempfile.TemporaryDirectory() as folder:
        spec = lone_run(model, dataset, SETTINGS[model], Path(folder))
        sides = {side: enter(side, spec) for side in SIDES}
        work = {side: lambda side=side: _epoch(sides[side]) for side in SIDES}  # type: ignore[misc]
        seconds = take_turns(work, repeats, f"{dataset.name} {model}")
        device = device_in_words(sides["stock"].trainer.device)
    total = {side: None if (n := epochs[side]) is None else n * median(seconds[side]) for side in SIDES}
    stock, own = (total[side] for side in SIDES)
    return {
        "dataset": dataset.name,
        "model": model,
        "settings": SETTINGS[model],
        "device": device,
        "seconds_of_an_epoch_and_its_evaluation": seconds,
        "epochs": epochs,
        "seconds_to_stocks_best": total,
        "ratio": None if stock is None or own is None else stock / own,
    }


def _epoch(contestant: Contestant) -> None:
    contestant.train_epoch()
    contestant.validate()


def reach_table(result: dict[str, Any]) -> list[str]:
    """Epochs and seconds as a Markdown table."""
    lines = [
        f"| {result['dataset']}, {result['model']} | epochs to stock's best validation NDCG@10 | seconds an epoch "
        "| seconds in all |",
        "| --- | ---: | ---: | ---: |",
    ]
    for side in SIDES:
        each = median(result["seconds_of_an_epoch_and_its_evaluation"][side])
        epochs, total = result["epochs"][side], result["seconds_to_stocks_best"][side]
        shown = ("not reached", "–") if epochs is None else (f"{epochs:g}", f"{total:,.0f}")
        lines.append(f"| {side} | {shown[0]} | {each:.2f} | {shown[1]} |")
    if result["ratio"]:
        lines.append(f"| ratio | | | {result['ratio']:.1f} |")
    return lines


def _epochs(quality: Path, dataset: str, model: str) -> dict[str, float | None]:
    if not quality.is_file():
        raise SourceDataError(f"{quality}: no such file. Make it with `recbole-ext bench quality` first.")
    for comparison in json.loads(quality.read_text(encoding="utf-8"))["comparisons"]:
        if (comparison["dataset"], comparison["model"]) == (dataset, model):
            return comparison["epochs_to_stocks_best_validation"]
    raise SourceDataError(f"{quality} has nothing on {model} on {dataset}: run `recbole-ext bench quality` with them.")
