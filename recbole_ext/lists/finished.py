"""A finished run, ready to score again: built from its record, with the weights that it kept."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.errors import ConfigurationError, SourceDataError, StoreError
from recbole_ext.records import RunRecord

if TYPE_CHECKING:
    import torch

    from recbole_ext.training.prepare import PreparedRun

DERIVED = (
    "MODEL_TYPE",
    "MODEL_INPUT_TYPE",
    "checkpoint_dir",
    "dataset",
    "device",
    "eval_type",
    "gpu_id",
    "local_rank",
    "model",
    "nproc",
    "show_progress",
    "single_spec",
    "use_gpu",
    "valid_metric_bigger",
)
"""Keys of a recorded configuration that RecBole derives again, or that belong to the machine that it ran on."""
RANKED = {"metrics": ["Recall"], "valid_metric": "Recall@10", "topk": [10]}
"""Lists need no metric; a user's own may not be importable where they are made."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that can score.

    Attributes:
        prepared: its model with the kept weights, its loaders and its trainer, which masks and scores.
    """

    path: Path
    record: RunRecord
    prepared: PreparedRun

    @property
    def config(self) -> Any:
        return self.prepared.config

    @property
    def model(self) -> Any:
        return self.prepared.model

    @property
    def dataset(self) -> Any:
        """The whole dataset; its tokens have RecBole's internal ids as their places."""
        return self.prepared.loaders.dataset

    @property
    def users(self) -> np.ndarray:
        """User tokens by internal id; the first is padding."""
        return np.asarray(self.dataset.field2id_token[self.dataset.uid_field])

    @property
    def items(self) -> np.ndarray:
        """Item tokens by internal id; the first is padding."""
        return np.asarray(self.dataset.field2id_token[self.dataset.iid_field])

    @property
    def ranks_seen_items(self) -> bool:
        """Whether the run's protocol ranks what a user has seen already."""
        return bool(self.config["rank_seen_items"])

    def scores(self, batch: tuple[Any, ...], split: str = "test") -> torch.Tensor:
        """Scores of all items, ``[users, items]``, minus infinity where an item is masked, as in the run's own test or,
        with ``split: valid``, in its validation."""
        return self.prepared.trainer.scores_of(batch, getattr(self.prepared.loaders, split)._dataset)


def find_record(run: Path | str) -> Path:
    """The file of a run's record: ``run`` itself, or ``FOLDER/NAME`` for ``FOLDER/runs/NAME.json``.

    Raises:
        ConfigurationError: there is none; names those that there are.
    """
    given = Path(run)
    candidates = [given, given.with_name(given.name + ".json"), given.parent / "runs" / f"{given.name}.json"]
    found = next((path for path in candidates if path.suffix == ".json" and path.is_file()), None)
    if found is not None:
        return found
    folder = given if (given / "runs").is_dir() else given.parent
    there = sorted(path.stem for path in (folder / "runs").glob("[!.]*.json"))
    hint = f" {folder} has {', '.join(there[:5])}{' …' if len(there) > 5 else ''}." if there else ""
    raise ConfigurationError(f"{run}: no such run. Give a record's path, or its results folder and name.{hint}")


def reopen(run: Path | str, data_path: Path | str | None = None, store: Path | str | None = None) -> FinishedRun:
    """Build a finished run again and give it the weights of its best epoch.

    Args:
        run: see :func:`find_record`.
        data_path: the folder that holds the dataset's folder, where it is not where it was.
        store: the store that the run began from, where it is not where it was.

    Raises:
        ConfigurationError: no such run, it failed, or it kept no checkpoint.
        SourceDataError, StoreError: dataset or store are not there, or not those that the run was made from.
    """
    path = find_record(run)
    record = RunRecord.read(path)
    if record.made is None:
        why = f": {record.error}" if record.error else ""
        raise ConfigurationError(f"{path}: this run failed{why}. Only a finished one can recommend.")
    from recbole_ext.runs.checkpoint import load_checkpoint, require_checkpoint

    require_checkpoint(record, path)
    settings = _settings(record, data_path, store)
    _check_store(record, settings)
    from recbole_ext.models import recbole_config
    from recbole_ext.training import prepare

    with tempfile.TemporaryDirectory() as checkpoints:
        config = recbole_config(record.model, record.dataset, {**settings, "checkpoint_dir": checkpoints})
        _check_dataset(record, config)
        prepared = prepare(config, Path(checkpoints) / "never-saved.pth")
    load_checkpoint(record, path, prepared.model)
    prepared.model.eval()
    return FinishedRun(path, record, prepared)


def _settings(record: RunRecord, data_path: Path | str | None, store: Path | str | None) -> dict[str, Any]:
    recorded = record.done.config
    settings = {key: _at_home(value) for key, value in recorded.items() if key not in DERIVED} | RANKED
    settings["show_progress"] = False
    settings["eval_args"] = {**settings["eval_args"], "mode": "full"}  # a list ranks all items, whatever was sampled
    for phase in ("valid", "test"):
        settings.pop(f"{phase}_neg_sample_args", None)
    negatives = settings.get("train_neg_sample_args") or {}
    if negatives.get("distribution") == "none":
        settings["train_neg_sample_args"] = None
    # RecBole has put the dataset's own folder into the key.
    settings["data_path"] = str(data_path or Path(str(settings["data_path"])).parent)
    if store is not None:
        if not recorded.get("item_embedding"):
            raise ConfigurationError(f"--store: {record.run} began from no store.")
        settings["item_embedding"] = str(store)
    return settings


def _at_home(value: Any) -> Any:
    """A recorded path below the home folder as a path of this machine; other values as they are."""
    return str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value


def _check_dataset(record: RunRecord, config: Any) -> None:
    from recbole_ext.data.dataset import Dataset

    dataset = Dataset.of_config(config)
    dataset.require(download=False)
    if dataset.fingerprint() != record.fingerprints.dataset:
        raise SourceDataError(
            f"{dataset.folder}: its files are not those that {record.run} was trained on (fingerprint). Point "
            "--data-path to these, or run the benchmark again."
        )


def _check_store(record: RunRecord, settings: dict[str, Any]) -> None:
    from recbole_ext.store.files import fingerprint_of

    store, known = settings.get("item_embedding"), record.fingerprints.vectors
    if not store or known is None:
        return
    if not Path(store).exists():
        raise StoreError(f"{store}: the store that {record.run} began from is not there. Say with --store where it is.")
    if fingerprint_of(Path(store)) != known:
        raise StoreError(f"{store}: not the vectors that {record.run} began from (fingerprint). Say --store.")
