"""What a card is called where nobody says it: after the source and the settings that were given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_ext.benchmark.suite import RANDOM
from recbole_ext.hashing import sha256_of
from recbole_ext.vectors import SOURCES

LONGEST = 60
LEFT_OUT = ("made_by",)


def name_of(source: Mapping[str, Any] | None) -> str:
    """``minilm``, ``minilm-layers3``, ``shuffled-minilm``, ``tfidf-dim64``; a long one is cut and ends with a hash."""
    if not source:
        return RANDOM
    name = re.sub(r"[^\w.+-]+", "-", _said(source)).strip("-.+")
    return name if len(name) <= LONGEST else f"{name[:LONGEST].rstrip('-.+')}-{sha256_of(as_texts(source))[:6]}"


def _said(source: Mapping[str, Any]) -> str:
    kind = next((key for key in source if key in SOURCES), "")
    said = [_value(source[kind])] if kind else []
    if kind and (SOURCES[kind].is_made_of_others and kind != "fused"):
        said.insert(0, kind)
    said += [f"{key}{_value(value)}" for key, value in source.items() if key != kind and key not in LEFT_OUT]
    return "-".join(said)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _said(value.get("of") if isinstance(value.get("of"), Mapping) else value)  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        return "+".join(_value(part) for part in value)
    text = str(value)
    return Path(text).name if "/" in text else text


def as_texts(value: Any) -> Any:
    """The same with every setting as text: so the command line, a YAML and a card agree on it."""
    if isinstance(value, Mapping):
        return {str(key): as_texts(part) for key, part in value.items()}
    return [as_texts(part) for part in value] if isinstance(value, list | tuple) else str(value)
