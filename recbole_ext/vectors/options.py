"""Sources on the command line: an option for each of their settings."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from recbole_ext.encoding.settings import Compute
from recbole_ext.settings import add_options, given_options, mapping
from recbole_ext.vectors import DEFAULT, SOURCES, VectorSource, made_of, parse_source


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all sources, those with which a source begins first, and those of how vectors are computed."""
    leading = parser.add_argument_group("where the vectors come from (give one; default: --encoder minilm)")
    for kind, source in SOURCES.items():
        add_options(leading, {kind: source}, only={kind})
    settings = parser.add_argument_group("what is done there; in brackets the sources that have the option")
    add_options(settings, SOURCES, leave_out=set(SOURCES))
    add_options(parser.add_argument_group("how it is computed"), {"compute": Compute})


def source_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the parsed options say about a source, as YAML would; nothing about which one: the default.

    Where a source is made of others, a name stands for the encoder of this name: ``--shuffled minilm``.
    """
    given = given_options(options, SOURCES.values())
    for kind in given.keys() & SOURCES.keys():
        if SOURCES[kind].is_made_of_others:
            given[kind] = _read(given[kind])
    for path, name in list(made_of(given)):
        if name.lstrip().startswith("{"):
            continue
        target: Any = given
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = {"encoder": name}
    return given if given.keys() & SOURCES.keys() else DEFAULT | given


def _read(value: Any) -> Any:
    """With mappings where the text of one stands; what begins like one and is none is refused with its key later."""
    if isinstance(value, list | tuple):
        return [_read(part) for part in value]
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            return mapping(value)
    return value


def source_of(options: argparse.Namespace) -> VectorSource:
    """The source that the parsed options describe.

    Raises:
        ConfigurationError: two sources, an option that the source does not have, or a value out of range.
    """
    source = parse_source(source_settings(options), "command line")
    assert source is not None
    return source


def compute_of(options: argparse.Namespace) -> Compute:
    """How the parsed options say that vectors are computed.

    Raises:
        ConfigurationError: a value out of range.
    """
    return Compute.checked(given_options(options, [Compute]), "command line")
