"""One behaviour tuning, told apart from every other: what it is asked for, before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.data.cuts import earlier_than
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.encoding.texts import item_key_values, item_texts
from recbole_ext.errors import ConfigurationError, TuningError
from recbole_ext.estimate import Estimate, Transformer
from recbole_ext.hashing import sha256_of, sha256_of_file
from recbole_ext.settings import CheckedSettings, Seed
from recbole_ext.tuning.objectives import objective_class, settings_of
from recbole_ext.tuning.settings import TuneSettings
from recbole_ext.tuning.unfinished import number_of_processes

DEFAULT_OBJECTIVE = "recformer"
OWN_KEYS = ("objective", "sources", "checkpoint", "after", "seeds")


class Tuning(CheckedSettings):
    """An objective with its settings, and what an encoder is tuned on with it.

    In YAML it is one flat mapping: ``{objective: pairs, sources: [Office], epochs: 1}``; see :meth:`parse`.
    """

    objective: str = DEFAULT_OBJECTIVE
    """What is tuned for; one of ``recbole_ext.tuning.objectives.OBJECTIVES``."""
    settings: TuneSettings
    """Of the objective's own class."""
    sources: tuple[str, ...] | dict[str, tuple[str, ...]]
    """The source domains, for all targets or by target. Where the target itself is among them, its training split
    under the run's own keys is tuned on."""
    checkpoint: str | None = None
    """A RECFORMER state dict to begin from instead of the encoder's weights."""
    after: Tuning | None = None
    """The step before this one: what is tuned is the encoder that it makes."""
    seeds: tuple[Seed, ...] = ()
    """Instead of one ``seed`` for all runs: the runs' own seeds take these in turn, so that a row's spread and interval
    cover tuning as well as training. They hold for the step before, too."""

    @classmethod
    def parse(cls, given: Mapping[str, Any], where: str) -> Tuning:
        """From a flat mapping.

        Raises:
            ConfigurationError: an unknown objective or key, a value out of range, a source named twice, or a step
                before that makes what this one can't read; names ``where`` and the key.
        """
        own = {key: given[key] for key in OWN_KEYS if key in given}
        objective = own.get("objective", DEFAULT_OBJECTIVE)
        settings = settings_of(objective, where).checked({k: v for k, v in given.items() if k not in own}, where)
        if not own.get("sources"):
            raise ConfigurationError(f"{where}: sources: name the datasets to tune on, such as [Office].")
        named = own["sources"].values() if isinstance(own["sources"], Mapping) else [own["sources"]]
        for names in named:
            if isinstance(names, list | tuple) and (twice := [n for n in names if names.count(n) > 1]):
                raise ConfigurationError(
                    f"{where}: sources: {twice[0]} stands there twice, and each is tuned on once: name it once. "
                    "source_temperature and epochs say how much of it is read."
                )
        if own.get("after") is not None:
            if not isinstance(own["after"], Mapping):
                raise ConfigurationError(
                    f"{where}: after: a mapping like this one, of the step before; got {own['after']!r}."
                )
            if "seeds" in own["after"]:
                raise ConfigurationError(f"{where}: after: seeds: give them to the last step; they hold for all.")
            own["after"] = before = cls.parse(own["after"], f"{where}: after")
            if before.settings.reads_key_values and not settings.reads_key_values:
                raise ConfigurationError(
                    f"{where}: after: {before.objective} makes an encoder that reads key–value pairs, and {objective} "
                    f"tunes on lines of text. Let {objective} come first, or take recformer, contrast or mlm in both."
                )
        if own.get("seeds") and "seed" in given:
            raise ConfigurationError(f"{where}: seed and seeds exclude each other.")
        return cls.checked({**own, "settings": settings}, where)

    def with_seed(self, number: int) -> Tuning:
        """The tuning as a benchmark's seed of this number (from 0 on) uses it, with one seed of its own."""
        return self._seeded(self.seeds[number % len(self.seeds)]) if self.seeds else self

    def _seeded(self, seed: int) -> Tuning:
        settings = self.settings.model_copy(update={"seed": seed})
        after = self.after._seeded(seed) if self.after else None
        return self.model_copy(update={"settings": settings, "seeds": (), "after": after})

    def trusting_code(self) -> Tuning:
        """The same in all its steps, with the Python code run that comes with the encoder."""
        settings = self.settings.model_copy(update={"trust_remote_code": True})
        after = self.after.trusting_code() if self.after else None
        return self.model_copy(update={"settings": settings, "after": after})

    @property
    def keeps_modules(self) -> bool:
        """Whether the tuned encoder has all modules that the encoder has after its transformer."""
        own = self.settings.pooling is None and not self.settings.reads_key_values
        return own and (self.after is None or self.after.keeps_modules)

    @property
    def layers(self) -> int | None:
        """Layers of the encoder that the last step which cuts it leaves."""
        return self.settings.layers or (self.after.layers if self.after else None)

    def domains(self, target: Dataset) -> list[Dataset]:
        """The source domains of this target, which is one of them as it is; they lie where the target lies.

        Raises:
            ConfigurationError: none are named for it.
        """
        named = self.sources if isinstance(self.sources, tuple) else self.sources.get(target.name)
        if not named:
            raise ConfigurationError(f"tune.sources: none for dataset {target.name!r}; name some.")
        return [target if name == target.name else target.sibling(name) for name in named]

    def domains_of_all_steps(self, target: Dataset) -> list[Dataset]:
        """Those of this step and of all before it."""
        return [*(self.after.domains_of_all_steps(target) if self.after else ()), *self.domains(target)]

    def sources_for(self, target: Dataset) -> list[Dataset]:
        """What is read of the source domains: all of it, but where the target is cut at one time (protocol
        ``temporal``) nothing that is later than its training.

        Raises:
            ConfigurationError: no domain is named for it, or one can't be cut at a time.
            SourceDataError: the target, or a domain to be cut, is not there.
        """
        sources, cut = self.domains(target), target.cut()
        if cut is None:
            return sources
        why = f"{target.name} under the protocol temporal"
        return [source if source is target else earlier_than(cut.valid, source, why) for source in sources]

    def of(self, encoder: str, target: Dataset) -> TunedEncoder:
        """What tuning ``encoder`` for ``target`` makes."""
        before = self.with_seed(0).after
        return TunedEncoder(
            self.with_seed(0), before.of(encoder, target) if before else encoder, tuple(self.sources_for(target))
        )

    def in_words(self) -> str:
        """Objective, sources and what is set, step by step: ``pairs on Office (epochs 1, seed 7)``."""
        before = f"{self.after.in_words()}, then " if self.after else ""
        return before + self.step_in_words(self.sources if isinstance(self.sources, tuple) else ("sources by dataset",))

    def step_in_words(self, sources: Sequence[str]) -> str:
        """This step alone, on these sources."""
        told = self.settings.model_dump(mode="json", exclude_defaults=True)
        if self.seeds:
            told["seeds"] = list(self.seeds)
        if self.checkpoint:
            told["checkpoint"] = Path(self.checkpoint).name
        how = ", ".join(f"{key} {_in_words(value)}" for key, value in told.items())
        return f"{self.objective} on {', '.join(sources)}{f' ({how})' if how else ''}"


def _in_words(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | float):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else value


@dataclass(frozen=True)
class TunedEncoder:
    """An encoder that a tuning makes, of another one or of what the step before it makes.

    Attributes:
        encoder: the encoder that is tuned, or the step before.
        sources: the source domains.
    """

    tuning: Tuning
    encoder: str | TunedEncoder
    sources: tuple[Dataset, ...]

    @property
    def steps(self) -> Iterator[TunedEncoder]:
        """The first step to this one."""
        if isinstance(self.encoder, TunedEncoder):
            yield from self.encoder.steps
        yield self

    @property
    def base(self) -> str:
        """The encoder that all begins with."""
        return next(iter(self.steps)).encoder  # type: ignore[return-value]

    def request(self) -> dict[str, Any]:
        """All that decides the tuned encoder, as JSON values.

        Raises:
            RecboleExtError: the encoder, the checkpoint or a source's files are not there.
        """
        tuning = self.tuning
        if tuning.checkpoint is not None and not Path(tuning.checkpoint).expanduser().is_file():
            raise TuningError(f"tune.checkpoint: {tuning.checkpoint}: no such file.")
        encoder = self.encoder
        # Told since held-out and left-out sequences are not counted any more: what was tuned before is another encoder.
        # A step is as many batches as there are processes, and their items are negatives of each other.
        shared = {"processes": processes} if (processes := number_of_processes()) > 1 else {}
        counted = {"counted": "the sequences that are tuned on"} if tuning.settings.counts_sequences else {}
        return {
            "objective": tuning.objective,
            "encoder": encoder.request() if isinstance(encoder, TunedEncoder) else resolve_encoder(encoder).identity,
            "checkpoint": sha256_of_file(Path(tuning.checkpoint).expanduser()) if tuning.checkpoint else None,
            "sources": {source.name: self._read_of(source) for source in self.sources},
            "settings": tuning.settings.request(),
            **counted,
            **shared,
        }

    def in_words(self) -> str:
        """This step, without those before it."""
        return self.tuning.step_in_words([source.name for source in self.sources])

    def folder(self, artifacts: Path) -> Path:
        """Where the tuned encoder is, or will be: named by its request, so that no other tuning rewrites it."""
        return artifacts / "encoders" / f"{self.tuning.objective}-{sha256_of(self.request())[:16]}"

    def estimate(self, shape: Transformer | None) -> Estimate | None:
        """What this step costs with an encoder of this shape, without those before it; ``None`` where too little is
        known."""
        sizes = [source.size() for source in self.sources]
        known = [size for size in sizes if size is not None]
        if shape is None or len(known) < len(sizes):
            return None
        return objective_class(self.tuning.objective).estimate(shape, known, self.tuning.settings)

    def _read_of(self, source: Dataset) -> dict[str, Any]:
        settings = self.tuning.settings
        pairs = settings.reads_key_values
        texts = item_key_values(source, getattr(settings, "attributes", None)) if pairs else item_texts(source)
        return {"histories": source.histories_request(), **texts.request}
