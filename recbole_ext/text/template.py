"""From an item's fields to its text: a template of parts, each dropped where its fields are empty."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import pandas as pd

from recbole_ext.errors import ConfigurationError
from recbole_ext.text.cleaning import clean
from recbole_ext.text.item_fields import TYPES_KEY


def default_template(fields: pd.DataFrame) -> list[str]:
    """A template of every text column of ``fields`` in file order: those of a token type that aren't ids.

    Raises:
        ConfigurationError: there is no such column.
    """
    types: dict[str, str] = fields.attrs.get(TYPES_KEY, {})
    template = [
        f"{{{name}}}"
        for name in fields.columns
        if types.get(name, "token").startswith("token") and not re.search(r"(^|_)id$", name, re.IGNORECASE)
    ]
    if not template:
        raise ConfigurationError(
            f"No text column among {_listed(fields)}: give the item text's template in 'item_text'."
        )
    return template


def render_texts(fields: pd.DataFrame, template: Sequence[str]) -> pd.Series:
    """One text per item from a template over its fields.

    Args:
        fields: columns of strings, indexed by item token, as ``read_item_fields`` returns them.
        template: parts such as ``["{title}", "Brand: {brand}", "{categories}"]``. A part whose fields are all
            empty is left out; the others are joined as sentences, ``". "`` between them.

    Returns:
        A series of cleaned texts with the index of ``fields``; ``""`` for an item without any.

    Raises:
        ConfigurationError: a part isn't a template, names no field or an unknown one (the message names it).
    """
    texts = [as_sentences(parts) for parts in render_parts(fields, template)]
    return pd.Series(texts, index=fields.index, name="text", dtype=object)


def render_parts(fields: pd.DataFrame, template: Sequence[str]) -> list[list[str]]:
    """The parts of each item's text before they are joined, cleaned, without the empty ones; see :func:`render_texts`.

    Raises:
        ConfigurationError: as :func:`render_texts`.
    """
    parts = [template] if isinstance(template, str) else list(template)
    if not parts:
        raise ConfigurationError("The item text's template is empty. Give parts such as ['{title}'].")
    parsed = [_parse_part(part, fields) for part in parts]
    used = {name for pieces in parsed for _, name in pieces if name is not None}
    values = {name: [clean(value) for value in fields[name]] for name in used}
    return [
        [
            clean("".join(before + (values[name][row] if name is not None else "") for before, name in pieces))
            for pieces in parsed
            if any(values[name][row] for _, name in pieces if name is not None)
        ]
        for row in range(len(fields))
    ]


def as_sentences(parts: Sequence[str]) -> str:
    """Cleaned parts joined to one text."""
    text = ""
    for part in parts:
        text += (" " if text[-1] in ".!?:;" else ". ") + part if text else part
    return clean(text)


def fields_of(template: Sequence[str]) -> list[str]:
    """The fields that a template names, in order, each once.

    Raises:
        ConfigurationError: a part isn't a template.
    """
    named = [name for part in template for _, name, _, _ in _pieces(part) if name]
    return list(dict.fromkeys(named))


def _parse_part(part: str, fields: pd.DataFrame) -> list[tuple[str, str | None]]:
    """Pairs of literal text and the field that follows it (``None`` at the end of the part)."""
    where, pieces = _where(part), _pieces(part)
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise ConfigurationError(f"{where}: only plain fields such as {{title}} are understood.")
    names = [name for _, name, _, _ in pieces if name is not None]
    if not names:
        raise ConfigurationError(f"{where} names no field. Write it into a part that does, or leave it out.")
    for name in names:
        if name not in fields.columns:
            raise ConfigurationError(f"{where}: no field '{name}'. There are: {_listed(fields)}.")
    return [(before, name) for before, name, _, _ in pieces]


def _pieces(part: str) -> list[tuple[str, str | None, str | None, str | None]]:
    """Literal text, the field that follows it, its format and its conversion."""
    if not isinstance(part, str):
        raise ConfigurationError(f'{_where(part)} isn\'t text. In YAML it needs quotes, as in "{{title}}".')
    try:
        return list(string.Formatter().parse(part))
    except ValueError as error:
        raise ConfigurationError(f"{_where(part)}: {error}. A field is written {{title}}, a brace {{{{.") from None


def _where(part: object) -> str:
    return f"Template part {part!r}"


def _listed(fields: pd.DataFrame) -> str:
    return ", ".join(map(str, fields.columns)) or "no fields at all"
