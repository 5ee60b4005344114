"""A way to item vectors: its settings, and how they are made from a dataset."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recbole_ext import __version__
from recbole_ext.claims import claim
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import StoreError
from recbole_ext.estimate import Estimate
from recbole_ext.hashing import sha256_of
from recbole_ext.machine import (
    devices_in_words,
    forget_peak_device_memory,
    forget_peak_memory,
    peak_device_memory_mb,
    peak_memory_mb,
)
from recbole_ext.settings import CheckedSettings
from recbole_ext.store.folder import has_vectors, is_store_folder, read_meta, refuse_to_overwrite

if TYPE_CHECKING:
    from torch import Tensor

    from recbole_ext.encoding.shards import ShardFolder
    from recbole_ext.encoding.texts import ItemTexts

log = logging.getLogger(__name__)

Settings = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """What a source made: where its store is, and what there is to say about it.

    Attributes:
        up_to_date: it was there already and nothing was done.
        notes: sentences about what was left out or filled in, and of ``encode`` how many items are covered.
    """

    store: Path
    items: int
    dim: int
    up_to_date: bool
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """In words."""
        done = "; up to date, nothing to do" if self.up_to_date else ""
        return [f"{self.store}: {self.items} items, {self.dim} dimensions{done}", *self.notes]

    def with_note(self, sentence: str) -> Made:
        """The same with one more sentence at the end."""
        return replace(self, notes=(*self.notes, sentence))


@dataclass(frozen=True)
class Effort:
    """Seconds that computing ``vectors`` vectors took, on devices of torch.

    Attributes:
        parameters: of the model that computed them.
    """

    seconds: float
    vectors: int
    parameters: int | None = None
    devices: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class Cost:
    """What vectors cost on the machine that made them, those that they were made of included.

    Attributes:
        peak_memory_mb: of the device where it has memory of its own, else of the process that made them, in MiB.
    """

    milliseconds_per_item: float
    peak_memory_mb: float
    parameters: int | None
    device: str


@dataclass(frozen=True)
class Vectors:
    """Vectors on their way into a store.

    Attributes:
        embeddings: ``[items, dim]``.
        items: their tokens.
        meta: what the store's ``meta.json`` is to say beside the request.
        notes: what the user is to be told.
        cost: of computing them, where it is not all that ``compute_vectors`` did.
        unfinished: the work that these vectors came from, kept until they are in their store.
    """

    embeddings: Tensor
    items: list[str]
    meta: Settings = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cost: Effort | None = None
    unfinished: ShardFolder | None = None


class VectorSource(CheckedSettings, ABC):
    """Settings of a source of item vectors. Its fields are its YAML keys and its command-line options.

    A source is one file of this package with a subclass, and a line in :data:`recbole_ext.vectors.SOURCES`. The field
    called like the source (``kind``) is required and says the main thing: ``{encoder: minilm, pooling: mean}``.
    """

    kind: ClassVar[str]
    """Its name among the sources, and its leading key."""
    is_made_of_others: ClassVar[bool] = False
    """Whether its leading key holds other sources, so that names of initialisations may stand there."""
    reads_text: ClassVar[bool] = False
    """Whether its vectors are made from the items' text."""

    @abstractmethod
    def request(self, dataset: Dataset) -> Settings:
        """All that decides the vectors for this dataset, as JSON values: settings, and hashes of what is read.

        Fixed before anything is computed; reads files, computes nothing.

        Raises:
            RecboleExtError: something that it needs is not there.
        """

    @abstractmethod
    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        """Make the vectors; the stores of the parts are there.

        Args:
            artifacts: they are below it, and so is what else has to be made on the way (tuned encoders).
            work: a path for unfinished work, beside the store; what is there is of this very request or of nobody.

        Raises:
            RecboleExtError: they can't be made.
        """

    @abstractmethod
    def width(self, dataset: Dataset) -> int | None:
        """Width of the vectors before they are made; ``None`` where only making them tells."""

    def parts(self) -> list[VectorSource]:
        """The sources that this one is made of; their stores are made first."""
        return []

    def needs_text(self) -> bool:
        """Whether the items' text is read, for it or for one of its parts."""
        return self.reads_text or any(part.needs_text() for part in self.parts())

    def texts(self, dataset: Dataset) -> ItemTexts | None:
        """The texts of the only items that can get a vector; ``None`` where it may give others one too.

        Raises:
            SourceDataError, ConfigurationError: there are none, or not with its template.
        """
        return None

    def missing(self, dataset: Dataset) -> list[str]:
        """What is not on this machine, nor downloaded on the way, and how to get it, a line each."""
        return [line for part in self.parts() for line in part.missing(dataset)]

    def downloads(self, dataset: Dataset) -> list[str]:
        """What is not on this machine and is downloaded before the vectors are made, a line each; of what can't be,
        why. Asks the network."""
        return [line for part in self.parts() for line in part.downloads(dataset)]

    def fetch(self, dataset: Dataset) -> None:
        """Download the datasets that it is made from and that RecBole knows; what is here is left as it is.

        Raises:
            SourceDataError: one can't be downloaded.
        """
        if dataset.url is not None:
            dataset.require()
        for part in self.parts():
            part.fetch(dataset)

    def estimate(self, dataset: Dataset) -> Estimate | None:
        """What making the vectors costs, without those of its parts; ``None`` where too little is known."""
        return None

    def with_seed(self, number: int) -> Self:
        """The source as a benchmark's seed of this number (from 0 on) uses it: see
        :attr:`recbole_ext.tuning.Tuning.seeds`. The same for all, unless an encoder in it is tuned with several."""
        return self

    def tuning_seeds(self) -> int:
        """With how many seeds the encoders in it are tuned."""
        return max((part.tuning_seeds() for part in self.parts()), default=1)

    def in_words(self) -> str:
        """For tables: ``encoder minilm``."""
        return f"{self.kind} {getattr(self, self.kind)}"

    def identity(self, dataset: Dataset) -> str:
        """SHA-256 of the request."""
        return sha256_of({"kind": self.kind, **self.request(dataset)})

    def store_path(self, dataset: Dataset, artifacts: Path) -> Path:
        """Where its store of this dataset is, or will be: named by the request, so that no other rewrites it."""
        return artifacts / "stores" / dataset.name / f"{self.kind}-{self.identity(dataset)[:16]}"

    def learnt_from(self, dataset: Dataset, artifacts: Path) -> list[Any]:
        """What its store says that its vectors were learnt from, beside their request: for vectors made of them.

        Raises:
            StoreError: the store is damaged.
        """
        path = self.store_path(dataset, artifacts)
        before = read_meta(path).get("tuned_on") if is_store_folder(path) else None
        return [before] if before else []

    def make(self, dataset: Dataset, out: Path, artifacts: Path, compute: Compute | None = None) -> Made:
        """Make the store ``out``, whole or not at all; one that answers the same request is left as it is.

        Raises:
            StoreError: ``out`` is something else than a store.
            WriteError: it can't be written.
            RecboleExtError: the vectors can't be made.
        """
        from recbole_ext.store.item_embedding_store import ItemEmbeddingStore

        out = out.expanduser()
        refuse_to_overwrite(out)
        self.fetch(dataset)
        request = {"kind": self.kind, **self.request(dataset)}
        identity = sha256_of(request)
        if (made := finished(out, identity)) is not None:
            return made
        work = out.with_name(out.name + ".partial")
        for part in self.parts():  # before the clock runs: their cost is added to this one's
            part.make_once(dataset, artifacts, compute)
        forget_peak_device_memory()
        forget_peak_memory()
        began = time.perf_counter()
        vectors = self.compute_vectors(dataset, artifacts, work, compute or Compute())
        before = [known for part in self.parts() for known in part.learnt_from(dataset, artifacts)]
        effort = vectors.cost or Effort(time.perf_counter() - began, len(vectors.items))
        meta = {
            "source": self.in_words(),
            "dataset": dataset.name,
            "identity": identity,
            "request": request,
            **({"tuned_on": before} if before else {}),
            **vectors.meta,
            "cost": {
                "seconds": round(effort.seconds, 4),
                "vectors": effort.vectors,
                "parameters": effort.parameters,
                "peak_memory_mb": peak_device_memory_mb(effort.devices[0]) or round(peak_memory_mb(), 1),
                "device": devices_in_words(effort.devices),
            },
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
        }
        store = ItemEmbeddingStore(vectors.embeddings, vectors.items, meta)
        with vectors.unfinished.kept() if vectors.unfinished else nullcontext():
            store.save(out)
        if vectors.unfinished:
            vectors.unfinished.remove()
        return Made(out, len(store), store.dim, up_to_date=False, notes=vectors.notes)

    def cost(self, dataset: Dataset, artifacts: Path) -> Cost | None:
        """What its store says that it cost; ``None`` where no store says it.

        Raises:
            StoreError: a store that is there is damaged.
        """
        path = self.store_path(dataset, artifacts)
        own = read_meta(path).get("cost") if path.is_dir() else None
        if own is None:
            return None
        parts = [part.cost(dataset, artifacts) for part in self.parts()]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        parameters = [count for count in (own["parameters"], *(part.parameters for part in known)) if count is not None]
        return Cost(
            1000 * own["seconds"] / own["vectors"] + sum(part.milliseconds_per_item for part in known),
            max([own["peak_memory_mb"], *(part.peak_memory_mb for part in known)]),
            sum(parameters) if parameters else None,
            own["device"],
        )

    def make_once(self, dataset: Dataset, artifacts: Path, compute: Compute | None = None) -> Path:
        """See that the store is there, whoever makes it; returns its path.

        One that is there is read where it is: the place may be somebody else's, or read-only.
        """
        out = self.store_path(dataset, artifacts)
        made = finished(out, self.identity(dataset)) if out.exists() else None
        if made is None:
            with claim(out.with_name(f".{out.name}.lock"), wait=True):
                made = self.make(dataset, out, artifacts, compute)
        for line in made.lines():
            log.info("%s", line)
        return out


def finished(out: Path, identity: str) -> Made | None:
    """The store ``out`` if it is whole and answers the request of this identity; told without importing torch."""
    if not out.is_dir() or not any(out.iterdir()):
        return None
    try:
        meta = read_meta(out)
    except StoreError as error:
        log.warning("%s", error)
        return None
    if meta.get("identity") != identity:
        log.info("%s was made by another request (source, text or settings changed): making it anew", out)
        return None
    items, dim = int(meta["items"]), int(meta["dim"])
    if not has_vectors(out, items, dim):
        log.warning("%s: its vectors are damaged: making them anew", out)
        return None
    return Made(out, items, dim, up_to_date=True)
