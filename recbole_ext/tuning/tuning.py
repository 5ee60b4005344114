"""One behaviour tuning, told apart from every other: what it is asked for, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_ext.data.cuts import earlier_than
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.encoding.texts import item_key_values, item_texts
from recbole_ext.errors import ConfigurationError, TuningError
from recbole_ext.hashing import sha256_of, sha256_of_file
from recbole_ext.settings import CheckedSettings
from recbole_ext.tuning.objectives import settings_of
from recbole_ext.tuning.settings import TuneSettings

DEFAULT_OBJECTIVE = "recformer"


class Tuning(CheckedSettings):
    """An objective with its settings, and what an encoder is tuned on with it.

    In YAML it is one flat mapping: ``{objective: pairs, sources: [Office], epochs: 1}``; see :meth:`parse`.
    """

    objective: str = DEFAULT_OBJECTIVE
    """What is tuned for; one of ``recbole_ext.tuning.objectives.OBJECTIVES``."""
    settings: TuneSettings
    """Of the objective's own class."""
    sources: tuple[str, ...] | dict[str, tuple[str, ...]]
    """The source domains, for all targets or by target."""
    checkpoint: str | None = None
    """A RECFORMER state dict to begin from instead of the encoder's weights."""

    @classmethod
    def parse(cls, given: Mapping[str, Any], where: str) -> Tuning:
        """From a flat mapping.

        Raises:
            ConfigurationError: an unknown objective or key, or a value out of range; names ``where`` and the key.
        """
        own = {key: given[key] for key in ("objective", "sources", "checkpoint") if key in given}
        objective = own.get("objective", DEFAULT_OBJECTIVE)
        settings = settings_of(objective, where).checked({k: v for k, v in given.items() if k not in own}, where)
        if not own.get("sources"):
            raise ConfigurationError(f"{where}: sources: name the datasets to tune on, such as [Office].")
        return cls.checked({**own, "settings": settings}, where)

    def domains(self, target: Dataset) -> list[Dataset]:
        """The source domains of this target, whole; they lie where the target lies.

        Raises:
            ConfigurationError: none are named for it.
        """
        named = self.sources if isinstance(self.sources, tuple) else self.sources.get(target.name)
        if not named:
            raise ConfigurationError(f"tune.sources: none for dataset {target.name!r}; name some.")
        return [target.sibling(name) for name in named]

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
        return [earlier_than(cut.valid, source, why) for source in sources]

    def request(self, encoder: str, sources: Sequence[Dataset]) -> dict[str, Any]:
        """All that decides the tuned encoder, as JSON values.

        Raises:
            RecboleExtError: the encoder, the checkpoint or a source's files are not there.
        """
        if self.checkpoint is not None and not Path(self.checkpoint).expanduser().is_file():
            raise TuningError(f"tune.checkpoint: {self.checkpoint}: no such file.")
        return {
            "objective": self.objective,
            "encoder": resolve_encoder(encoder).identity,
            "checkpoint": sha256_of_file(Path(self.checkpoint).expanduser()) if self.checkpoint else None,
            "sources": {source.name: self._read_of(source) for source in sources},
            "settings": self.settings.model_dump(mode="json", exclude_none=True),
        }

    def _read_of(self, source: Dataset) -> dict[str, Any]:
        pairs = self.settings.reads_key_values
        texts = item_key_values(source, getattr(self.settings, "attributes", None)) if pairs else item_texts(source)
        return {"histories": source.histories_request(), **texts.request}

    def folder(self, encoder: str, sources: Sequence[Dataset], artifacts: Path) -> Path:
        """Where the tuned encoder is, or will be: named by its request, so that no other tuning rewrites it."""
        return artifacts / "encoders" / f"{self.objective}-{sha256_of(self.request(encoder, sources))[:16]}"
