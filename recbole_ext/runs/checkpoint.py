"""The weights of a run's best epoch, kept beside its record: tensors and plain values, nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_ext.errors import ConfigurationError
from recbole_ext.hashing import sha256_of_file
from recbole_ext.records import RunRecord
from recbole_ext.records.record import Checkpoint
from recbole_ext.writing import replacing_file

KEPT = ("state_dict", "other_parameter")
"""What RecBole's ``Trainer.evaluate`` reads of a checkpoint. The optimiser's state, twice as large, is left out."""


def keep_checkpoint(saved: Path, target: Path) -> Checkpoint:
    """Write of RecBole's checkpoint ``saved`` what scoring needs to ``target``; returns what a record says of it."""
    import torch

    state = torch.load(saved, map_location="cpu", weights_only=True)
    with replacing_file(target) as temporary:
        torch.save({name: state.get(name) for name in KEPT}, temporary)
    return Checkpoint(file=f"{target.parent.name}/{target.name}", sha256=sha256_of_file(target))


def require_checkpoint(record: RunRecord, record_file: Path) -> Path:
    """The file of weights that a finished run kept.

    Raises:
        ConfigurationError: it kept none, or they are gone, or not those that its record names.
    """
    kept = record.done.checkpoint
    if kept is None:
        raise ConfigurationError(
            f"{record_file}: this run kept no checkpoint, so it can't recommend. Say `keep_checkpoints: true` in the "
            "benchmark (or --keep_checkpoints=true) and run it again: runs without one are repeated."
        )
    path = record_file.parents[1] / kept.file
    if not path.is_file():
        raise ConfigurationError(
            f"{path}: no such file, though {record_file.name} names it. Run the benchmark again with "
            "`keep_checkpoints: true`: only what is missing is repeated."
        )
    if sha256_of_file(path) != kept.sha256:
        raise ConfigurationError(
            f"{path} is not the file that {record_file.name} was written with. Delete both and run the benchmark again."
        )
    return path


def load_checkpoint(record: RunRecord, record_file: Path, model: Any) -> None:
    """Give ``model``, built as the run built it, the weights that the run kept.

    Raises:
        ConfigurationError: as :func:`require_checkpoint`, or they don't fit the model.
    """
    import torch

    path = require_checkpoint(record, record_file)
    state = torch.load(path, map_location=model.device, weights_only=True)
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise ConfigurationError(
            f"{path} does not fit {record.model} as its configuration and data build it now: {error}. Run the "
            "benchmark again."
        ) from error
    model.load_other_parameter(state["other_parameter"])
