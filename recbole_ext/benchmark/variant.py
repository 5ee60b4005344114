"""An entry of ``initialisations:``: where item vectors come from, how they are attached, what they compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recbole_ext.benchmark.keys import ATTACHING, HOOK_KEYS
from recbole_ext.errors import ConfigurationError
from recbole_ext.vectors import SOURCES, VectorSource, made_of, parse_source
from recbole_ext.wording import did_you_mean

Settings = dict[str, Any]

OWN_KEYS = (*ATTACHING, "config", "baseline")
"""What an entry says beside where its vectors come from."""


@dataclass(frozen=True)
class Variant:
    """One way for a model to begin.

    Attributes:
        source: where its vectors come from; ``None``: the model's own random ones.
        attach: the hook's keys, such as ``item_embedding_mode``.
        config: RecBole keys of its own, such as ``hidden_size``.
        baseline: the variant that it is compared with, if its entry names one.
    """

    name: str
    source: VectorSource | None = None
    attach: Settings = field(default_factory=dict)
    config: Settings = field(default_factory=dict)
    baseline: str | None = None

    @property
    def is_random(self) -> bool:
        return self.source is None

    def in_words(self) -> str:
        """Its vectors, for tables."""
        return self.source.in_words() if self.source else "random"


def parse_variants(entries: Mapping[str, Settings], where: str) -> dict[str, Variant]:
    """The variants of ``initialisations:``, in order.

    An entry may be made of another one's source by its name (``{shuffled: minilm}``).

    Raises:
        ConfigurationError: an unknown key or name, entries made of each other, two entries that say the same, or a
            baseline that is not there or is the entry itself; names ``where`` and the entry.
    """
    variants = {name: _parse(name, entries, f"{where}: initialisations.{name}") for name in entries}
    for name, variant in variants.items():
        if variant.baseline is not None and (variant.baseline not in variants or variant.baseline == name):
            raise ConfigurationError(
                f"{where}: initialisations.{name}.baseline: {variant.baseline!r} is no other entry of initialisations."
            )
    by_meaning: dict[str, str] = {}
    for name, variant in variants.items():
        meaning = repr((variant.source, sorted(variant.attach.items()), sorted(variant.config.items())))
        if (twin := by_meaning.setdefault(meaning, name)) != name:
            raise ConfigurationError(f"{where}: initialisations.{name} says the same as {twin}; drop one of them.")
    return variants


def baseline_of(variant: Variant, variants: Mapping[str, Variant]) -> str | None:
    """The variant that ``variant`` is compared with: the one it names, else random vectors under the same keys.

    ``None`` for random vectors themselves, and where no entry is their like.
    """
    if variant.baseline is not None:
        return variant.baseline
    if variant.is_random:
        return None
    same_keys = [name for name, other in variants.items() if other.is_random and other.config == variant.config]
    # Two random entries with the same keys differ in their scale alone; the first is the plain one.
    return same_keys[0] if same_keys else None


def _parse(name: str, entries: Mapping[str, Settings], where: str) -> Variant:
    entry = _made_of_sources(dict(entries[name]), entries, where, (name,))
    attach = {f"item_embedding_{key}": entry.pop(key) for key in ATTACHING if key in entry}
    config, baseline = entry.pop("config", {}), entry.pop("baseline", None)
    if not isinstance(config, dict):
        raise ConfigurationError(f"{where}.config is a mapping of RecBole keys; got {config!r}.")
    for key in config:
        if key in HOOK_KEYS:
            raise ConfigurationError(
                f"{where}.config: {key!r} is set beside it, as `{key.removeprefix('item_embedding_')}`."
            )
    try:
        source = parse_source(entry, where)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} {_meant(entry, str(error))}".rstrip()) from error
    if source is None and set(attach) - {"item_embedding_scale"}:
        key = sorted(set(attach) - {"item_embedding_scale"})[0].removeprefix("item_embedding_")
        raise ConfigurationError(f"{where}: {key!r} is about item vectors, and this entry has no source of any.")
    return Variant(name, source, attach, config, baseline)


def _meant(entry: Settings, said: str) -> str:
    """Which of an entry's own keys may have been meant by one that its source does not know."""
    if "search" in entry:
        return "All initialisations have the same search: it stands at the top of the file, or in grids for a model."
    of_source = [key for kind, source in SOURCES.items() if kind in entry for key in source.model_fields]
    unknown = [str(key).removeprefix("item_embedding_") for key in entry if key not in of_source]
    if not unknown or not of_source:
        return ""
    every = f"Beside its source's keys an initialisation has {', '.join(OWN_KEYS)}."
    return next(filter(None, (did_you_mean(key, OWN_KEYS) for key in unknown)), "" if "Did you mean" in said else every)


def _made_of_sources(entry: Settings, entries: Mapping[str, Settings], where: str, seen: tuple[str, ...]) -> Settings:
    """``entry`` with the names of other entries replaced by what they say of their source."""
    for path, name in made_of(entry):
        if name in seen:
            raise ConfigurationError(f"{where}: it is made of itself, by way of {' and '.join(seen)}.")
        if name not in entries:
            continue  # not a name but a source's own word
        other = {key: value for key, value in entries[name].items() if key not in OWN_KEYS}
        other = _made_of_sources(other, entries, where, (*seen, name))
        target: Any = entry
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = other
    return entry
