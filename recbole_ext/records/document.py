"""JSON files of a fixed format: written whole, read with checks that name the key."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from recbole_ext.errors import ConfigurationError
from recbole_ext.writing import write_json

FORMAT = 2

Settings = dict[str, Any]


class Part(BaseModel):
    """A part of a document: its fields are its JSON keys, and there are no others."""

    # without "constants", pydantic would turn an infinite number into null before `_as_json` sees it
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, ser_json_inf_nan="constants", allow_inf_nan=True
    )


class Document(Part):
    """What one file holds.

    Numbers that JSON does not know are written as the texts ``NaN``, ``Infinity`` and ``-Infinity``. A field that is a
    number reads them as numbers again; among settings, which may be anything, they stay texts.
    """

    format: Literal[2] = 2

    def write_to(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_json(path, self.as_json())

    def as_json(self) -> Settings:
        """What :meth:`write_to` writes, as JSON values."""
        return _as_json(self.model_dump(mode="json", exclude_none=True))


AnyDocument = TypeVar("AnyDocument", bound=Document)


def read_document(kind: type[AnyDocument], path: Path, way_out: str) -> AnyDocument:
    """Read and check a file; ``way_out`` ends the message of an error.

    Raises:
        ConfigurationError: the file can't be read, is of an earlier version, or damaged; names the key.
        FileNotFoundError: there is none.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:  # a folder, a loop of links, a file that may not be read
        raise ConfigurationError(f"{path}: {error.strerror}. {way_out}") from error
    if _is_earlier(text):
        raise ConfigurationError(f"{path}: of an earlier version of this package; delete it. {way_out}")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{path}: {f'key `{where}`: ' if where else ''}{said}. {way_out}") from error


def _is_earlier(text: bytes) -> bool:
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("format") != FORMAT


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
