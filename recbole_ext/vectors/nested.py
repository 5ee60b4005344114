"""Sources that are made of other sources: how those are written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from recbole_ext.settings import mapping, where_of
from recbole_ext.vectors.source import VectorSource


def _source(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, VectorSource):
        return value
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        raise ValueError("this names no initialisation; name one, or give a source such as {encoder: minilm}")
    from recbole_ext.vectors import parse_source

    given = mapping(value)
    source = parse_source(given, where_of(info))
    if source is None:
        raise ValueError("random vectors are no source to make others of")
    return source


Nested = Annotated[VectorSource, BeforeValidator(_source)]
"""A field that holds another source: its mapping. (Names of initialisations are replaced by theirs before.)"""
