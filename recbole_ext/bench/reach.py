"""``recbole-ext bench reach``: seconds until stock's best validation score, on both sides."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.bench.contestants import SIDES, enter
from recbole_ext.bench.quality import SETTINGS
from recbole_ext.errors import SourceDataError
from recbole_ext.writing import write_json

log = logging.getLogger(__name__)


def run_reach(
    dataset: str, model: str, settings: dict[str, Any], repeats: int, quality: Path, out: Path, command: str
) -> dict[str, Any]:
    """Time epochs of both sides in turns and multiply with the epochs that ``bench quality`` needed; write ``out``.

    How many epochs a side takes until the best validation NDCG@10 that stock reached with every seed is a property of
    its training, which ``quality.json`` holds (median over seeds); what an epoch and its evaluation cost is measured
    here with the same settings, so that hours of stock training need not be repeated on a machine kept quiet.

    Raises:
        SourceDataError: ``quality`` is not there or lacks this dataset and model.
    """
    from recbole_ext.run.machine import device_in_words, git_revision, versions

    epochs = _epochs(quality, dataset, model)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        keys = {**settings, **SETTINGS[model]}
        sides = {side: enter(side, model, dataset, keys, Path(folder)) for side in SIDES}
        for repeat in range(repeats):
            for side, contestant in sides.items():
                began = time.perf_counter()
                contestant.train_epoch()
                contestant.validate()
                seconds[side].append(time.perf_counter() - began)
                log.info("%s %s, repeat %d, %s: %.2f s", dataset, model, repeat + 1, side, seconds[side][-1])
        device = device_in_words(sides["stock"].trainer.device)
    total: dict[str, float | None] = {}
    for side, of_side in seconds.items():
        needed = epochs[side]
        total[side] = None if needed is None else needed * median(of_side)
    result = {
        "dataset": dataset,
        "model": model,
        "settings": SETTINGS[model],
        "command": command,
        "device": device,
        "versions": versions(),
        "git_revision": git_revision(),
        "seconds_of_an_epoch_and_its_evaluation": seconds,
        "epochs": epochs,
        "seconds_to_stocks_best": total,
        "ratio": None if None in total.values() else total["stock"] / total["recbole-ext"],  # type: ignore[operator]
    }
    write_json(out, result)
    return result


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
