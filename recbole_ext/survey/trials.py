"""One epoch of a model on the slice, and one on the whole. Each is called in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_ext.attach import item_tables
from recbole_ext.errors import AttachError, RecboleExtError
from recbole_ext.models import OWN_MODELS, model_class, recbole_config
from recbole_ext.survey.keys import PROTOCOL, Settings, keys_for, on_slice
from recbole_ext.survey.movies import SLICE, VECTOR_WIDTH, WHOLE
from recbole_ext.training import PreparedRun, count_flops, prepare


def try_slice(model: str, folder: Path) -> dict[str, Any]:
    """One epoch on the slice, on RecBole's own samples: metrics, item tables, and the samples it would take here."""
    settings = _settings(model, folder)
    try:
        run, metrics = _run(model, {**settings, **on_slice(model)}, folder)
        samples = prepare(recbole_config(model, SLICE, settings), folder / "best.pth").samples.name
    except RecboleExtError as error:
        return {"refused": str(error)}
    return {"metrics": metrics, "tables": _tables(run), "samples": samples}


def try_settings(model: str, settings: Settings, folder: Path) -> dict[str, Any]:
    """What ``settings`` give on the slice: metrics, or the sentence with which they are refused."""
    own = {"data_path": str(folder), "checkpoint_dir": str(folder / "ours")}
    try:
        return {"metrics": _run(model, {**settings, **own}, folder)[1]}
    except RecboleExtError as error:
        return {"refused": str(error)}


def _run(model: str, settings: Settings, folder: Path) -> tuple[PreparedRun, dict[str, dict[str, float]]]:
    run = prepare(recbole_config(model, SLICE, settings), folder / "best.pth")
    count_flops(run)
    return run, {"validation": run.fit(), "test": run.test()}


def time_epoch(model: str, folder: Path, limit: float) -> dict[str, Any]:
    """Seconds of processor time for one epoch on the whole, as it is trained by default, without evaluation.

    After ``limit`` seconds the epoch is given up, and its time is estimated from the batches that are done.
    """
    settings = _settings(model, folder)
    if model_class(model).type.name != "DECISIONTREE":  # they are validated after each round
        settings["eval_step"] = 0
    run = prepare(recbole_config(model, WHOLE, settings), folder / "best.pth")
    batches = LimitedBatches(run.samples.loader, limit)
    spent: list[float] = []
    began = time.process_time()
    try:
        replace(run, samples=replace(run.samples, loader=batches)).fit(
            lambda *_: spent.append(time.process_time() - began)
        )
    except TimeIsOver:
        if batches.done > len(batches):  # the epoch goes through the data several times
            return {}
        return {"seconds": round((time.process_time() - began) * len(batches) / batches.done), "estimated": True}
    return {"seconds": round(spent[0], 2)}


class TimeIsOver(Exception):
    """The epoch takes longer than the survey waits."""


class LimitedBatches:
    """A loader whose batches end with :class:`TimeIsOver` after ``limit`` seconds of processor time.

    Attributes:
        done: how many batches have been used.
    """

    def __init__(self, loader: Any, limit: float) -> None:
        self.loader, self.end, self.done = loader, time.process_time() + limit, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch
            self.done += 1
            if time.process_time() > self.end:
                raise TimeIsOver


def _settings(model: str, folder: Path) -> Settings:
    settings = {**PROTOCOL, **keys_for(model, model_class(model).type.name)}
    settings |= {"data_path": str(folder), "checkpoint_dir": str(folder / "ours")}
    own = OWN_MODELS.get(model)
    if own is not None and own.needs_item_vectors:
        settings |= {"item_embedding": str(folder / "store"), "hidden_size": VECTOR_WIDTH}
    return settings


def _tables(run: Any) -> str:
    """Where the hook attaches."""
    if hasattr(run.model, "item_vector_coverage"):
        return "reads them itself"
    try:
        return ", ".join(table.name for table in item_tables(run.model, run.loaders.dataset.iid_field))
    except AttachError:
        return ""
