"""One finished or failed run, typed: everything that report and study read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from recbole_ext.errors import ConfigurationError
from recbole_ext.writing import write_json

Settings = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Epoch(_Part):
    """One epoch of training: its number from 0, losses and seconds; ``valid`` where it was evaluated."""

    epoch: int
    train_loss: float
    train_seconds: float
    valid: float | None = None
    """The validation metric that early stopping goes by."""
    valid_seconds: float | None = None


class Seconds(_Part):
    """Wall-clock seconds."""

    training: float
    """All epochs with their evaluations."""
    test: float | None = None
    per_epoch: float
    """Median over epochs, without evaluation."""
    per_evaluation: float | None = None
    """Median over the validations."""


class Parameters(_Part):
    """Numbers of parameters."""

    total: int
    trainable: int
    item_embedding: int


class Coverage(_Part):
    """How many of the dataset's items got their vector from the store."""

    items: int
    covered: int
    missing: int


class Statistics(_Part):
    """What was trained and ranked on, after RecBole's filters."""

    users: int
    items: int
    interactions: int


class Popularity(_Part):
    """The file, beside the records, that holds the training counts of items and of test items; see ``run/popularity``."""

    file: str
    sha256: str


class Fingerprints(_Part):
    """SHA-256 of what the run was made from, as it was resolved."""

    run: str
    """The run's identity: settings, dataset and the request of its vectors."""
    dataset: str
    """Every file that RecBole reads under the run's configuration."""
    vectors: str | None = None
    """The store's vectors and tokens."""


class Made(_Part):
    """What is known of a run that ended well."""

    training_samples: str
    validation: dict[str, float]
    """Metrics of the best epoch; empty where there is no validation split."""
    test: dict[str, float]
    """Empty where there is no test split."""
    valid_metric: str
    """What early stopping and the search go by, as RecBole's results spell it: ``ndcg@10``."""
    best_epoch: int
    """From 0; the last one where nothing was validated."""
    stopped_early: bool
    """Whether early stopping ended the training. A row whose runs ended at the epoch limit says so."""
    epoch_limit: int
    curve: list[Epoch]
    coverage: Coverage | None = None
    popularity: Popularity | None = None
    statistics: Statistics
    parameters: Parameters
    flops: float | None = None
    """RecBole's count for one scored user and item; ``None`` where the model can't be counted."""
    seconds: Seconds
    peak_memory_mb: float
    """Of the process, resident, in MiB."""
    peak_device_memory_mb: float | None = None
    """Of the accelerator, in MiB; ``None`` on a CPU."""
    device: str
    versions: dict[str, str]
    config: Settings
    """RecBole's full configuration."""


class RowKey(NamedTuple):
    """What names a row of a leaderboard."""

    dataset: str
    model: str
    variant: str
    protocol: str

    def __str__(self) -> str:
        return ", ".join(self)


class RunRecord(_Part):
    """One run, as ``runs/NAME/runs/RUN.json`` holds it. Per-user ranks lie beside it in ``RUN.ranks.npy``."""

    format: Literal[2] = 2
    run: str
    """File stem of the record."""
    benchmark: str
    dataset: str
    model: str
    variant: str
    """The entry of ``initialisations:``."""
    mode: str
    """``item_embedding_mode``; ``-`` where nothing is attached, ``text`` for a model that reads text itself."""
    protocol: str
    seed: int
    trial: Settings
    """The point of the search."""
    status: Literal["done", "failed"]
    command: str
    date: str
    git_revision: str | None = None
    fingerprints: Fingerprints
    made: Made | None = None
    error: str | None = None
    traceback: str | None = None

    @property
    def row(self) -> RowKey:
        """The row of the leaderboard that it belongs to."""
        return RowKey(self.dataset, self.model, self.variant, self.protocol)

    @property
    def done(self) -> Made:
        """What a run that ended well knows; ask ``status`` first."""
        assert self.made is not None, self.run
        return self.made

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_json(path, self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read and check a record.

        Raises:
            ConfigurationError: the file is no record of this format, or a renamed one; names the key.
        """
        way_out = "Delete the file and run the benchmark again: only this run is repeated."
        try:
            record = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigurationError(
                f"{path}: {f'key `{where}`: ' if where else ''}{first['msg']}. {way_out}"
            ) from error
        if (record.status == "done") != (record.made is not None):
            raise ConfigurationError(f"{path}: status {record.status!r} does not fit what the record holds. {way_out}")
        if record.run != path.stem:
            raise ConfigurationError(f"{path}: holds the run {record.run!r}; rename it to {record.run}.json.")
        return record
