"""One epoch of a model on the slice, and one on the whole. Each is called in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from recbole_ext.attach import item_tables
from recbole_ext.errors import AttachError, RecboleExtError
from recbole_ext.models import OWN_MODELS, model_class, recbole_config
from recbole_ext.survey.keys import PROTOCOL, Settings, keys_for, on_slice
from recbole_ext.survey.movies import SLICE, VECTOR_WIDTH, WHOLE
from recbole_ext.training import count_flops, prepare


def try_slice(model: str, folder: Path) -> dict[str, Any]:
    """One epoch on the slice, on RecBole's own samples: metrics, item tables, and the samples it would take here."""
    settings = _settings(model, folder)
    try:
        run = prepare(recbole_config(model, SLICE, {**settings, **on_slice(model)}), folder / "best.pth")
        count_flops(run)
        metrics = {"validation": run.fit(), "test": run.test()}
        samples = prepare(recbole_config(model, SLICE, settings), folder / "best.pth").samples.name
    except RecboleExtError as error:
        return {"refused": str(error)}
    return {"metrics": metrics, "tables": _tables(run), "samples": samples}


def time_epoch(model: str, folder: Path) -> dict[str, Any]:
    """Seconds of processor time for one epoch on the whole, as it is trained by default, without evaluation."""
    settings = _settings(model, folder)
    if model_class(model).type.name != "DECISIONTREE":  # they are validated after each round
        settings["eval_step"] = 0
    run = prepare(recbole_config(model, WHOLE, settings), folder / "best.pth")
    spent: list[float] = []
    began = time.process_time()
    run.fit(lambda curve: spent.append(time.process_time() - began))
    return {"seconds": round(spent[0], 2)}


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
