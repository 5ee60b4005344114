"""One run: atomic files and a store in, a record out."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.attach import attach_item_embedding
from recbole_ext.compat import make_recbole_work, plain_config
from recbole_ext.data.files import require_dataset
from recbole_ext.data.fingerprints import dataset_fingerprint, store_fingerprint
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import model_class, recbole_config
from recbole_ext.run.machine import device_in_words, git_revision, peak_memory_mb, versions
from recbole_ext.run.popularity import keep_popularity
from recbole_ext.run.spec import RunSpec
from recbole_ext.writing import replacing_file, write_json


def run_once(spec: RunSpec) -> dict[str, Any]:
    """Train, evaluate and record one run; returns the record that it wrote to ``spec.record_path``.

    The order of steps, and so of random draws, is RecBole's ``run_recbole``; a run without ``item_embedding`` and
    with ``training_samples: augmented`` gives exactly its metrics.

    Raises:
        SourceDataError: the dataset is not there.
        ConfigurationError: RecBole refuses the configuration, or the dataset's counts are not the expected ones.
        AttachError, StoreError: the store does not fit; see :func:`recbole_ext.attach.attach_item_embedding`.
    """
    make_recbole_work()
    from recbole.data.transform import construct_transform
    from recbole.utils import get_flops, init_seed

    from recbole_ext.training import build_trainer, choose_data_path, freeze_blocks, load

    config = build_config(spec)
    # RecBole looks for it and then makes it: of two runs that start at once, one would fail.
    Path(config["checkpoint_dir"]).mkdir(parents=True, exist_ok=True)
    init_seed(config["seed"], config["reproducibility"])
    loaders = load(config)
    statistics = _check_statistics(loaders.dataset, spec)
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = model_class(spec.model)(config, loaders.train._dataset).to(config["device"])
    coverage = attach_item_embedding(model, loaders.dataset, config)
    freeze_blocks(model, config)
    flops = get_flops(model, loaders.dataset, config["device"], model.logger, construct_transform(config))

    path = choose_data_path(config, model, loaders)
    checkpoint = spec.artifacts / "checkpoints" / spec.benchmark / f"{spec.name}.pth"
    trainer = build_trainer(config, model, checkpoint)
    trainer.loss_of_rows = path.loss_of_rows
    began = time.perf_counter()
    _, validation = trainer.fit(path.train, loaders.valid, verbose=False, show_progress=config["show_progress"])
    training_seconds = time.perf_counter() - began
    began = time.perf_counter()
    test = trainer.evaluate(loaders.test, load_best_model=True, show_progress=config["show_progress"])
    test_seconds = time.perf_counter() - began
    checkpoint.unlink(missing_ok=True)

    record = {
        **spec.identity(),
        "status": "done",
        "command": spec.command,
        "training_samples": path.name,
        "validation": _rounded(validation),
        "test": _rounded(test),
        "best_epoch": trainer.best_epoch,
        "epochs": len(trainer.curve),
        "coverage": coverage.as_dict() if coverage else None,
        "popularity": keep_popularity(loaders, spec.dataset, spec.folder),
        "dataset_statistics": statistics,
        "parameters": _count_parameters(model),
        "flops": float(flops),
        "seconds": {
            "training": round(training_seconds, 3),
            "test": round(test_seconds, 3),
            "per_epoch": round(median(entry["train_seconds"] for entry in trainer.curve), 4),
            "per_evaluation": round(median([e["valid_seconds"] for e in trainer.curve if "valid_seconds" in e]), 4),
        },
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "device": device_in_words(config["device"]),
        "fingerprints": {
            "run": spec.fingerprint,
            "dataset": dataset_fingerprint(spec.dataset, spec.config["data_path"]),
            "store": store_fingerprint(spec.config.get("item_embedding")),
        },
        "versions": versions(),
        "git_revision": git_revision(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "curve": [{key: round(value, 6) for key, value in entry.items()} for entry in trainer.curve],
        "config": _relative_to_here(plain_config(config)),
    }
    ranks = trainer.test_ranks(loaders.test)
    if ranks is not None:
        import numpy as np

        with replacing_file(spec.ranks_path) as temporary, temporary.open("wb") as file:
            np.save(file, ranks)
    write_json(spec.record_path, record)
    return record


def build_config(spec: RunSpec) -> Any:
    """RecBole's ``Config`` of this run.

    Raises:
        SourceDataError: the dataset is not there.
        ConfigurationError: RecBole refuses a value.
    """
    require_dataset(spec.dataset, spec.config["data_path"])
    settings = dict(spec.config)
    settings.setdefault("show_progress", sys.stderr.isatty())
    if (
        "CUDA_VISIBLE_DEVICES" in os.environ
    ):  # who gave this process its GPUs, such as Ray; RecBole would take the first
        settings["gpu_id"] = os.environ["CUDA_VISIBLE_DEVICES"]
    settings["checkpoint_dir"] = str(spec.artifacts / "checkpoints" / spec.benchmark)
    try:
        return recbole_config(spec.model, spec.dataset, settings)
    except (ValueError, TypeError, NotImplementedError, RuntimeError, KeyError) as error:
        raise ConfigurationError(f"RecBole refuses the configuration of {spec.name}: {error}") from error


def _check_statistics(dataset: Any, spec: RunSpec) -> dict[str, int]:
    statistics = {
        "users": dataset.user_num - 1,
        "items": dataset.item_num - 1,
        "interactions": int(dataset.inter_num),
    }
    history = getattr(dataset, "history", None)
    if history is not None:
        statistics["interactions"] = len(history)
    for what, expected in spec.expected.items():
        if statistics.get(what) != expected:
            raise ConfigurationError(
                f"{spec.dataset}: {statistics.get(what)} {what}, but its dataset config expects {expected}. "
                "Convert it again, or correct `expected` (and any filter) in the dataset config."
            )
    return statistics


def _count_parameters(model: Any) -> dict[str, int]:
    embedding = getattr(model, "item_embedding", None)
    return {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "item_embedding": sum(p.numel() for p in embedding.parameters()) if embedding is not None else 0,
    }


def _rounded(metrics: Any) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items()}


def _relative_to_here(config: dict[str, Any]) -> dict[str, Any]:
    """Records speak of the project alone: paths below the working folder are relative, installed ones by name."""
    here = str(Path.cwd()) + os.sep
    packages = str(Path(sys.prefix)) + os.sep

    def shorten(value: Any) -> Any:
        if isinstance(value, str):
            if "dataset_example" in value:
                return "recbole/dataset_example"
            return value.removeprefix(here).removeprefix(packages)
        return value

    return {key: shorten(value) for key, value in config.items()}
