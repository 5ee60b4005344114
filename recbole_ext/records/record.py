"""One finished or failed run, typed: everything that report and study read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import model_validator

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.document import Document, Part, Settings, read_document

SEEN_TARGETS = "seen_targets"
"""A key of the recorded configuration: how many test items their users had had, where what a user has had is not ranked
and there are such; see :mod:`recbole_ext.training.seen_items`."""


class Epoch(Part):
    """One epoch of training: its number from 0, losses and seconds; ``valid`` where it was evaluated."""

    epoch: int
    train_loss: float | None = None
    """``None`` for boosted trees, which know none."""
    train_seconds: float
    valid: float | None = None
    """The validation metric that early stopping goes by."""
    valid_seconds: float | None = None


class Seconds(Part):
    """Wall-clock seconds."""

    training: float
    """All epochs with their evaluations."""
    test: float | None = None
    per_epoch: float
    """Median over epochs, without evaluation."""
    per_evaluation: float | None = None
    """Median over the validations."""


class Parameters(Part):
    """Numbers of parameters."""

    total: int
    trainable: int
    item_embedding: int


class Coverage(Part):
    """How many of the dataset's items got their vector from the store."""

    items: int
    covered: int
    missing: int


class Statistics(Part):
    """What was trained and ranked on, after RecBole's filters."""

    users: int
    items: int
    interactions: int


class TemporalSplit(Part):
    """What the protocol ``temporal`` made of the data; see :class:`recbole_ext.data.temporal.Counted`."""

    valid_from: float
    """Exact time of the first cut: what is earlier trains."""
    test_from: float
    training_interactions: int
    test_users: int
    new_items: int
    """Items first seen after the first cut."""
    new_items_are: Literal["ranked", "left out"]
    new_targets: int
    """Test users whose item to find is one of them."""


class Popularity(Part):
    """The file beside the records that holds training counts of items and of test items; see ``run/popularity``."""

    file: str
    sha256: str


class Checkpoint(Part):
    """The file of weights beside the record, ``runs/RUN.weights.pt``, that ``keep_checkpoints`` asks for."""

    file: str
    sha256: str


class Fingerprints(Part):
    """SHA-256 of what the run was made from, as it was resolved."""

    run: str
    """The run's identity: settings, dataset and the request of its vectors."""
    dataset: str
    """Every file that RecBole reads under the run's configuration."""
    vectors: str | None = None
    """The store's vectors and tokens."""


class Evaluated(Part):
    """What is known of any lists that were tested, whoever made them."""

    validation: dict[str, float] = {}
    """Metrics of the best epoch; empty where there is no validation split, and for lists from outside."""
    test: dict[str, float]
    """Empty where there is no test split."""
    tied: int | None = None
    """Test items with the very score of another one; ``None`` where they were not counted."""
    tested: int | None = None
    """Test items; ``None`` in earlier records."""
    valid_metric: str
    """What early stopping and the search go by, as RecBole's results spell it: ``ndcg@10``."""
    popularity: Popularity | None = None
    statistics: Statistics
    temporal: TemporalSplit | None = None
    """``None`` under another protocol."""
    versions: dict[str, str]
    config: Settings
    """RecBole's full configuration."""

    @property
    def test_items(self) -> int:
        """How many items were tested; an earlier record is of leave-one-out, which tests every user, or of a cut in
        time, which says it."""
        if self.tested is not None:
            return self.tested
        return self.temporal.test_users if self.temporal else self.statistics.users

    @property
    def largest_k(self) -> int:
        """The largest of RecBole's ``topk``; ranks beyond it are not known."""
        topk = self.config.get("topk") or 0
        return max(topk) if isinstance(topk, list) else int(topk)

    @property
    def decimal_places(self) -> int:
        """To which RecBole rounds the metrics that it reports."""
        return int(self.config.get("metric_decimal_place", 4))

    @property
    def direction(self) -> int:
        """1 where a larger ``valid_metric`` is better, else −1."""
        return 1 if self.config.get("valid_metric_bigger", True) else -1

    @property
    def ranks_all_items(self) -> bool:
        """Whether the test item was ranked among all items, and not in a sample of them."""
        mode = (self.config.get("eval_args") or {}).get("mode")
        return (mode.get("test") if isinstance(mode, dict) else mode) == "full"

    @property
    def seen_targets(self) -> int:
        """Test items that their users had had, and so were to find among all items, while other users' were ranked
        among what these had not had."""
        return int(self.config.get(SEEN_TARGETS, 0))

    @property
    def counts_ties_in_expectation(self) -> bool:
        """Whether an item that ties has the mean worth of its places; else its place is ``torch.topk``'s choice."""
        return self.config.get("training_samples") != "augmented"

    @property
    def score(self) -> float | None:
        """Validation of the best epoch by ``valid_metric``; ``None`` where nothing was validated."""
        return self.validation.get(self.valid_metric)

    @property
    def merit(self) -> float | None:
        """``score`` as trials are chosen by it: larger is better, whatever the metric; minus infinity where it is no
        finite number, ``None`` where nothing was validated."""
        if self.score is None:
            return None
        return self.direction * self.score if math.isfinite(self.score) else -math.inf


class Made(Evaluated):
    """What is known of a run that ended well."""

    training_samples: str
    best_epoch: int
    """From 0; the last one where nothing was validated."""
    stopped_early: bool
    """Whether early stopping ended the training. A row whose runs ended at the epoch limit says so."""
    epoch_limit: int
    curve: list[Epoch]
    validated: int | None = None
    """Users that a validation ranks for; ``None`` in earlier records."""
    coverage: Coverage | None = None
    checkpoint: Checkpoint | None = None
    """``None`` where the run kept none."""
    parameters: Parameters
    flops: float | None = None
    """RecBole's count for one scored user and item; ``None`` where the model can't be counted."""
    seconds: Seconds
    peak_memory_mb: float
    """Of the process, resident, in MiB."""
    peak_device_memory_mb: float | None = None
    """Of the accelerator, in MiB; ``None`` on a CPU."""
    device: str

    @property
    def is_trained(self) -> bool:
        """Whether there was anything to learn; a model that learns nothing has no parameters of its own."""
        return self.training_samples != "none"

    @property
    def validation_users(self) -> int | None:
        """Users of a validation, in earlier records all; ``None`` in those of a cut in time, where few have one."""
        if self.validated is None and self.temporal is None:
            return self.statistics.users
        return self.validated

    @property
    def validations(self) -> dict[int, float]:
        """By epoch what early stopping went by, where it was evaluated."""
        return {point.epoch: point.valid for point in self.curve if point.valid is not None}

    @property
    def learns(self) -> bool:
        """Whether anything was trained: a model without training, such as Pop, has one parameter, for RecBole's sake.

        RecBole gives it one epoch whatever the limit.
        """
        return self.parameters.trainable > 1

    @property
    def ended_at_limit(self) -> bool:
        """Whether it was still training when the epoch limit ended it; what ranks as it is has a limit of 0."""
        return not self.stopped_early and len(self.curve) >= self.epoch_limit > 0 and self.learns

    @property
    def seconds_to_best(self) -> float:
        """Seconds of training and validating up to the end of the best epoch."""
        return sum(p.train_seconds + (p.valid_seconds or 0.0) for p in self.curve if p.epoch <= self.best_epoch)


class Lists(Evaluated):
    """What is known of lists that another system made; what they cost is not."""

    source: str = ""
    """The system and how its lists were made, in its user's words."""
    file: str
    sha256: str
    """Of the file of lists."""
    users: int
    """Users with a test item."""
    pooled: bool = False
    """Whether a user's test items are to be found together, as RecBole's general models are tested; else each by
    itself."""
    left_out: int
    """Of these, users without a list: each a miss."""
    not_tested: int
    """Users with a list, but without a test item: not counted."""
    longest: int
    """Items of the longest list; nothing is reported beyond."""
    shorter: int
    """Users whose list is shorter than the largest cutoff that is reported: what is missing counts as a miss."""
    seen: int
    """Listed items that their user had seen, where the protocol leaves these out: they keep the places they take."""

    @property
    def test_items(self) -> int:
        return self.users if self.tested is None else self.tested

    @property
    def remarks(self) -> list[str]:
        """What a reader has to know of the lists."""
        said = ["outside system: its cost is unknown", *([self.source] if self.source else [])]
        if self.test_items > self.users:
            how = "together, ties in the order of the list" if self.pooled else "each by itself in the user's one list"
            said.append(f"{self.test_items:,} test items of {self.users:,} users, found {how}")
        if self.left_out:
            said.append(f"{self.left_out:,} of {self.users:,} users left out, counted as misses")
        if self.not_tested:
            said.append(f"{self.not_tested:,} users with a list have no test item in this split and are not counted")
        if self.shorter:
            said.append(f"{self.shorter:,} lists shorter than the largest cutoff")
        if self.seen:
            said.append(f"{self.seen:,} listed items already seen, which keep their places")
        return said


class RowKey(NamedTuple):
    """What names a row of a leaderboard."""

    dataset: str
    model: str
    variant: str
    protocol: str

    def __str__(self) -> str:
        return ", ".join(self)


class RunRecord(Document):
    """One run, as ``runs/NAME/runs/RUN.json`` holds it, or an outside system's lists, as ``runs/NAME/lists/RUN.json``.

    Per-user ranks lie beside it in ``RUN.ranks.npy``.
    """

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
    lists: Lists | None = None
    """Instead of ``made``: lists of an outside system, tested on the same split."""
    baseline: tuple[str, str] | None = None
    """Of lists, the model and the variant that they are compared with."""
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

    @property
    def evaluated(self) -> Evaluated:
        """What a run that ended well, or lists from outside, were tested with; ask ``status`` first."""
        found = self.made or self.lists
        assert found is not None, self.run
        return found

    @property
    def kept_in(self) -> str:
        """The folder below the benchmark's that holds the record and what lies beside it."""
        return "runs" if self.lists is None else "lists"

    @model_validator(mode="after")
    def _whole(self) -> RunRecord:
        if (self.status == "done") != (self.made is not None or self.lists is not None) or (self.made and self.lists):
            raise ValueError(f"status {self.status!r} does not fit what the record holds")
        return self

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        self.write_to(path)

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read and check a record.

        Raises:
            ConfigurationError: the file is no record of this format, or a renamed one; names the key.
        """
        record = read_document(cls, path, "Delete the file and run the benchmark again: only this run is repeated.")
        if record.run != path.stem:
            raise ConfigurationError(f"{path}: holds the run {record.run!r}; rename it to {record.run}.json.")
        return record
