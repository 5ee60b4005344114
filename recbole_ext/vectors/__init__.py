"""Where item vectors come from: one file per source, each with its settings, and a line in ``SOURCES``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recbole_ext.errors import ConfigurationError
from recbole_ext.vectors.controls import Gaussian, Shuffled
from recbole_ext.vectors.cooccurrence import Cooccurrence
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.vectors.finetune import Finetune
from recbole_ext.vectors.fused import Fused
from recbole_ext.vectors.given import Store
from recbole_ext.vectors.item2vec import Item2vec
from recbole_ext.vectors.lexical import Lexical
from recbole_ext.vectors.source import Made, VectorSource
from recbole_ext.vectors.static import Static
from recbole_ext.wording import did_you_mean

SOURCES: dict[str, type[VectorSource]] = {
    "encoder": Encoder,
    "store": Store,
    "finetune": Finetune,
    "lexical": Lexical,
    "static": Static,
    "cooccurrence": Cooccurrence,
    "item2vec": Item2vec,
    "fused": Fused,
    "shuffled": Shuffled,
    "gaussian": Gaussian,
}
"""Leading key (its ``kind``): the source that it stands for."""
DEFAULT: dict[str, Any] = {"encoder": "minilm"}
"""The embedded encoder as it is published."""


def parse_source(settings: Mapping[str, Any], where: str) -> VectorSource | None:
    """The source that a mapping describes, told by its leading key; ``None`` for an empty mapping (random vectors).

    Raises:
        ConfigurationError: no or two leading keys, an unknown key, or a value out of range; names ``where`` and it.
    """
    if not settings:
        return None
    leading = [key for key in settings if key in SOURCES]
    if len(leading) > 1:
        raise ConfigurationError(f"{where}: {' and '.join(leading)} are two sources of item vectors; give one.")
    if not leading:
        key = next(iter(settings))
        hint = did_you_mean(str(key), SOURCES, f"A source begins with one of {', '.join(SOURCES)}.")
        raise ConfigurationError(f"{where}: {key!r} says something about no source of item vectors. {hint}")
    return SOURCES[leading[0]].checked(settings, where)


def made_of(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The places in a source's mapping where the name of another initialisation may stand, with the name there.

    A place is a path of keys and list positions: ``("shuffled",)``, ``("fused", 0, "of")``.
    """
    for key in settings:
        if key in SOURCES and SOURCES[key].is_made_of_others:
            yield from _names((key,), settings[key])


def _names(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _names((*path, number), part)
    elif isinstance(value, Mapping):
        if "of" in value:
            yield from _names((*path, "of"), value["of"])
        for inner, name in made_of(value):
            yield (*path, *inner), name


__all__ = ["DEFAULT", "SOURCES", "Made", "VectorSource", "made_of", "parse_source"]
