"""The score card of item vectors: what a suite measured of them, in one file that can be sent to others."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from recbole_ext.errors import ConfigurationError
from recbole_ext.hashing import sha256_of
from recbole_ext.records.document import Document, Part, Settings, read_document

WAY_OUT = "Make it again with `recbole-ext score`, or take the file away."
DIGITS = 6
"""After the point; a card is to be read, and its hash not to hang on the last bits."""


class Gain(Part):
    """Over random vectors, in per cent of their mean; ``low`` and ``high``: a 95 % interval over users and seeds."""

    mean: float
    low: float | None = None
    """``None`` where there are fewer than three seeds, of random vectors themselves, and of a mean over datasets that
    share several tunings of one encoder."""
    high: float | None = None

    @property
    def mark(self) -> str:
        """``better`` or ``worse`` where the interval leaves zero out; else empty. Not corrected for other cards."""
        if self.low is None or self.high is None:
            return ""
        return "better" if self.low > 0 else "worse" if self.high < 0 else ""


class Unseen(Part):
    """The test users whose item nobody took in training."""

    users: int
    score: float
    random: float | None = None


class Score(Part):
    """One recommender on one dataset."""

    dataset: str
    model: str
    score: float
    """Test, mean over seeds, in the card's metric."""
    random: float | None = None
    """The same from random vectors; ``None`` for a model that has none, such as the nearest neighbour."""
    gain: Gain | None = None
    unseen: Unseen | None = None
    seeds: int
    runs: list[str]
    """Run records of the chosen trial, one per seed, in the suite's folder beside the card's."""
    trials: int
    chosen: Settings
    """The trial that validation chose."""
    at_limit: int = 0
    """Runs, the random ones' included, that the epoch limit ended while they were still training."""


class Geometry(Part):
    """How the vectors of the items of training lie; see :mod:`recbole_ext.scoring.geometry`."""

    items: int
    width: int
    mean_cosine: float
    effective_rank: float
    first_axis: float
    hubness: float
    co_taken: float
    co_taken_by_chance: float


class Cost(Part):
    """Making the vectors, on the machine that ``device`` names."""

    milliseconds_per_item: float
    peak_memory_mb: float
    parameters: int | None = None
    device: str


class TuningCost(Part):
    """One behaviour tuning by this package, as the tuned encoder's folder records it."""

    objective: str
    encoder: str
    """What was tuned."""
    sources: list[str]
    """The source domains."""
    examples: int
    """In an epoch."""
    seconds: float
    """Of all epochs, on ``device``."""
    processes: int
    device: str | None = None
    """``None`` where the tuning did not record it."""


class OnDataset(Part):
    """A dataset of the suite: the mean over its trained recommenders, and the vectors of its items."""

    dataset: str
    fingerprint: str
    """SHA-256 of its files."""
    described_by: str
    """SHA-256 of what its config says of them: which interactions are kept, and what an item's text is."""
    users: int
    items: int
    covered: int | None = None
    """Items that have a vector."""
    score: float
    gain: Gain
    vectors: Geometry | None = None
    """``None``: random ones."""
    stores: list[str] = []
    """SHA-256 of the vectors with their items' tokens, as the run records have it; several where the encoder was tuned
    with several seeds. Empty: random ones, or a card from before this was kept."""
    cost: Cost | None = None
    """``None`` where nobody knows: random and given vectors."""


class SuiteVersion(Part):
    """Which suite; cards of different ones don't compare."""

    name: str
    version: int
    sha256: str
    """Over all of the suite that decides results."""

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"


class Card(Document):
    """A score card. Its file ends with the hash of all the rest, so that one edited by hand is refused."""

    name: str
    """What it is called on the page."""
    kind: str
    """The source's kind: encoder, lexical, …"""
    vectors: str
    """The source in words."""
    source: Settings
    """Its keys, as in a benchmark's YAML."""
    suite: SuiteVersion
    metric: str
    """Of all scores: ``ndcg@10``."""
    score: float
    """Mean over the trained recommenders of all datasets."""
    gain: Gain
    scores: list[Score]
    datasets: list[OnDataset]
    tuning: list[TuningCost] = []
    """The tunings behind the vectors, the first step first; empty where this package tuned nothing."""
    note: str = ""
    command: str
    date: str
    git_revision: str | None = None
    versions: dict[str, str]
    devices: list[str]
    """That recommenders were trained on."""
    sha256: str = ""

    @property
    def file_name(self) -> str:
        return file_name_of(self.suite.name, self.name)

    @property
    def trained(self) -> list[Score]:
        """The scores of recommenders that were trained."""
        return [score for score in self.scores if score.gain is not None]

    @property
    def data(self) -> dict[str, tuple[str, str]]:
        """Of each dataset, what tells its files and what is read of them."""
        return {of.dataset: (of.fingerprint, of.described_by) for of in self.datasets}

    @property
    def milliseconds_per_item(self) -> float | None:
        """Mean over the datasets; ``None`` where one of them does not know."""
        costs = [of.cost for of in self.datasets]
        known = [cost.milliseconds_per_item for cost in costs if cost is not None]
        return sum(known) / len(known) if len(known) == len(costs) else None

    @property
    def measured_on(self) -> str | None:
        """The device of :attr:`milliseconds_per_item`, or several; ``None`` where these are not known."""
        devices = dict.fromkeys(of.cost.device for of in self.datasets if of.cost is not None)
        return " and ".join(devices) if self.milliseconds_per_item is not None else None

    @property
    def tuning_seconds(self) -> float | None:
        """Of all tunings behind the vectors; ``None`` where there are none that this package knows of."""
        return sum(tuning.seconds for tuning in self.tuning) if self.tuning else None

    def write(self, folder: Path) -> Path:
        """Write it into ``folder`` under :attr:`file_name`, whole or not at all; returns the file."""
        path = folder / self.file_name
        content = {key: value for key, value in self.as_json().items() if key != "sha256"}
        self.model_copy(update={"sha256": sha256_of(content)}).write_to(path)
        return path

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read and check a card.

        Raises:
            ConfigurationError: no card, one that was changed after it was written, or a renamed one; names the file.
        """
        card = read_document(cls, path, WAY_OUT)
        content = json.loads(path.read_bytes())
        if content.pop("sha256", None) != sha256_of(content):
            raise ConfigurationError(
                f"{path}: was changed after it was written: its hash is of something else. {WAY_OUT}"
            )
        if path.name != card.file_name:
            raise ConfigurationError(f"{path}: holds the card {card.file_name}; rename it to that.")
        return card


def file_name_of(suite: str, name: str) -> str:
    """The file of the card called ``name``."""
    return f"{suite}-{name}.json"


def read_cards(folder: Path, leave_out: Collection[str] = ()) -> list[Card]:
    """All cards in ``folder`` but the files of these names, by name.

    Raises:
        ConfigurationError: a file that is no card, or an edited one; names it.
    """
    return [Card.read(path) for path in sorted(folder.glob("[!.]*.json")) if path.name not in leave_out]


def rounded(value: float) -> float:
    """As cards keep numbers."""
    return round(float(value), DIGITS)
