"""What models begin from: stores of item vectors, encoders that read text, the item matrix that a run exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from recbole_ext.data.config import about_data
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.store.files import fingerprint_of
from recbole_ext.tuning.tuning import TunedEncoder
from recbole_ext.vectors import VectorSource
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.vectors.finetune import Finetune


@dataclass(frozen=True)
class Beginning:
    """What a model begins from: the hash of its request, and the store or the encoder; nothing: random vectors."""

    identity: str | None = None
    store: Path | None = None
    encoder: str | None = None
    width: int | None = None

    @cached_property
    def content(self) -> str | None:
        """SHA-256 of the store's files, where they are there already."""
        return fingerprint_of(self.store) if self.store is not None and self.store.exists() else None


@dataclass(frozen=True)
class StoreToMake:
    """A store that runs start from, or that another one is made of.

    Attributes:
        path: ``None`` where what names it is not on this machine.
        made_of: what is made before it.
    """

    dataset: Dataset
    source: VectorSource
    path: Path | None
    made_of: tuple[StoreToMake | EncoderToTune, ...] = ()


@dataclass(frozen=True)
class EncoderToTune:
    """A behaviour-tuned encoder, which a run reads text with, a store is made with or another step begins with;
    attributes as of a store."""

    source: Encoder
    tuned: TunedEncoder
    path: Path | None
    made_of: tuple[EncoderToTune, ...] = ()


@dataclass
class Beginnings:
    """Resolves beginnings, each once, and keeps what has to be made for them.

    Attributes:
        exported: for an item matrix that a run of RECFORMER exports, what models begin from then.
        fetch: encoders that are not on this machine are downloaded when they are loaded, and what can't be had is
            refused; else both are listed in ``missing``.
    """

    artifacts: Path
    fetch: bool
    exported: Callable[[Dataset, Finetune], Beginning]
    stores: dict[str, StoreToMake] = field(default_factory=dict)
    encoders: dict[str, EncoderToTune] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    _known: dict[tuple[str, str, bool, str, bool], Beginning] = field(default_factory=dict)

    def of(self, dataset: Dataset, source: VectorSource | None, as_text: bool) -> Beginning:
        """What a model begins from; ``as_text``: it reads text with the source's encoder, and needs no store.

        ``dataset`` is that of the run: vectors of behaviour are made of its own training split.
        """
        if source is None:
            return Beginning()
        about = json.dumps(about_data(dataset.keys), sort_keys=True, default=str)
        key = (dataset.name, about, dataset.splits_rows, repr(source), as_text)
        if key not in self._known:
            missing = source.missing(dataset)
            if self.fetch:
                source.fetch(dataset)
            else:
                missing += source.downloads(dataset)
            self.missing += missing
            try:
                self._known[key] = self._encoder(dataset, source) if as_text else self._store(dataset, source)
            except RecboleExtError as error:
                if self.fetch:
                    raise
                if not missing:
                    self.missing.append(str(error))
                self._known[key] = Beginning()
        return self._known[key]

    def _store(self, dataset: Dataset, source: VectorSource) -> Beginning:
        if isinstance(source, Finetune):
            return self.exported(dataset, source)
        self._to_make(dataset, source)
        path = source.store_path(dataset, self.artifacts)
        return Beginning(source.identity(dataset), store=path, width=source.width(dataset))

    def _to_make(self, dataset: Dataset, source: VectorSource) -> StoreToMake:
        """Keep ``source`` and, before it, all that it is made of."""
        if isinstance(source, Finetune):
            raise ConfigurationError(
                "finetune: what RECFORMER exports is there only once its run has ended, so no other vectors can be "
                "made of it. Run the benchmark, and then give its store: {store: artifacts/stores/…}."
            )
        made_of: list[StoreToMake | EncoderToTune] = []
        if isinstance(source, Encoder) and source.tune is not None:
            made_of.append(self._to_tune(source, source.tune.of(source.encoder, dataset)))
        made_of += [self._to_make(dataset, part) for part in source.parts()]
        path = self._named(lambda: source.store_path(dataset, self.artifacts))
        store = StoreToMake(dataset, source, path, tuple(made_of))
        return self.stores.setdefault(str(path or (dataset.name, source)), store)

    def _encoder(self, dataset: Dataset, source: VectorSource) -> Beginning:
        assert isinstance(source, Encoder), source
        source.require_whole("a model that reads text itself")
        tuned = self._to_tune(source, source.tune.of(source.encoder, dataset)).path if source.tune else None
        encoder = str(tuned) if tuned else source.encoder
        return Beginning(source.identity(dataset), encoder=encoder)

    def _to_tune(self, source: Encoder, tuned: TunedEncoder) -> EncoderToTune:
        """Keep ``tuned`` and, before it, the steps that it begins with."""
        before = (self._to_tune(source, tuned.encoder),) if isinstance(tuned.encoder, TunedEncoder) else ()
        path = self._named(lambda: tuned.folder(self.artifacts))
        return self.encoders.setdefault(str(path or tuned), EncoderToTune(source, tuned, path, before))

    def _named(self, path: Callable[[], Path]) -> Path | None:
        try:
            return path()
        except RecboleExtError:
            if self.fetch:
                raise
            return None  # said by what is missing
