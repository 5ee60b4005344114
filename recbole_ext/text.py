"""Item text: from the columns of a ``.item`` atomic file to one clean line of text per item.

RecBole's own loader reads ``.item`` files with CSV quoting rules, under which a title that begins with ``"``
is an error and an unbalanced one swallows the lines after it. An atomic file has no quoting: a tab ends a
field, a newline ends a row, and every other character is text. That is how it is read here.
"""

from __future__ import annotations

import html
import html.entities
import logging
import re
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pandas as pd

from recbole_ext.errors import ConfigurationError, SourceDataError

logger = logging.getLogger(__name__)

# --- cleaning ---

# Separators of lines and fields, control characters, and code points that stand for "unreadable".
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]+")
# Code points without width or meaning inside a line; joiners that change how letters or emoji look are kept.
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
# Only references that end in a semicolon: "AT&T", "R&D" and "?a=1&copy=2" mean what they say.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")

_INLINE_TAGS = "a abbr b big cite code del em font i ins kbd q s small span strike strong sub sup tt u var wbr"
_BLOCK_TAGS = (
    "address blockquote body br button caption center col colgroup dd div dl dt embed form h1 h2 h3 h4 h5 h6"
    " head hr html iframe img input li link meta noscript object ol option p param pre script select style"
    " table tbody td textarea tfoot th thead title tr ul xml"
)
_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?"""
_HIDDEN = re.compile(  # what no reader of the page ever saw, content and all
    r"<(script|style|xml)\b[^<>]*>.*?</\1\s*>"
    r"|<!(?:--)?\[(?:if|endif)[^\]<>]*\](?:-->|>)?|\[if [^\]<>]*\]>|<!--(?:-?>|.*?-->)?"
    r"|<!doctype\b[^<>]*>|<\?xml\b[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = re.compile(rf"</?(?:{_INLINE_TAGS.replace(' ', '|')}){_ATTRIBUTES}>", re.IGNORECASE)
_BLOCK = re.compile(  # with the namespaced tags that word processors leave behind, such as <o:p>
    rf"</?(?:{_BLOCK_TAGS.replace(' ', '|')}|[a-z]{{1,6}}:[a-z]\w*){_ATTRIBUTES}>", re.IGNORECASE
)


def clean(text: str) -> str:
    """One line of plain text: what a reader of the web page that ``text`` comes from would have seen.

    HTML entities are resolved until none is left (shop data is often escaped twice), HTML tags and comments
    are removed, control characters, tabs and line ends become spaces, and runs of spaces become one. Tags are
    known by name and form, so ``"< 5 V"`` and ``"<b and c>"`` stay. ``clean(clean(text)) == clean(text)``.
    """
    text = _squeeze(text)
    while "&" in text or "<" in text:
        simpler = _squeeze(_without_markup(_REFERENCE.sub(_resolve, text)))
        if simpler == text:
            break
        text = simpler
    return text


def _squeeze(text: str) -> str:
    return _BLANK.sub(" ", _INVISIBLE.sub("", text)).strip()


def _resolve(reference: re.Match[str]) -> str:
    body = reference[0][1:]
    # html.unescape would also resolve a prefix ("&notes;" to "¬es;"), so names are looked up whole.
    return html.unescape(reference[0]) if body[0] == "#" else html.entities.html5.get(body, reference[0])


def _without_markup(text: str) -> str:
    return _BLOCK.sub(" ", _INLINE.sub("", _HIDDEN.sub(" ", text)))


# --- reading ---

_TYPES = ("token", "token_seq", "float", "float_seq")
_TYPES_KEY = "types"  # in DataFrame.attrs: column name to atomic-file type


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file for reading; a byte order mark is skipped, and only ``\\n`` ends a line.

    Raises:
        SourceDataError: the file is missing, empty or unreadable, or a line read inside the ``with`` block is
            not UTF-8 (the message names the line).
    """
    try:
        if path.is_dir():
            raise SourceDataError(f"{path} is a folder; a file is expected there.")
        if path.stat().st_size == 0:
            raise SourceDataError(f"{path} is empty. Get or convert it again.")
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield file
    except FileNotFoundError:
        raise SourceDataError(f"{path} doesn't exist. Check the path, or convert the dataset first.") from None
    except UnicodeDecodeError as error:
        raise SourceDataError(
            f"{path}, line {_undecodable_line(path)}: not UTF-8 ({error.reason}). Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise SourceDataError(f"{path} can't be read: {error.strerror or error}.") from error


def _undecodable_line(path: Path) -> int | str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return "?"  # the file changed under our hands


def read_item_fields(path: Path, item_field: str = "item_id") -> pd.DataFrame:
    """Read a ``.item`` atomic file (``name:type`` header, tab-separated) without quoting rules.

    Args:
        path: the ``.item`` file.
        item_field: the column that holds the item token.

    Returns:
        One row per item in file order, indexed by item token; the columns are the other fields, named without
        their types; every value is a ``str``, ``""`` where the file has none. Of several rows for one item
        the first is kept, and the log says how many were not.

    Raises:
        SourceDataError: the file is missing, empty or not UTF-8; its header lacks types or ``item_field``; it
            has no rows; a row has too few or too many fields or no item token (the message names the line).
    """
    with open_text(path) as lines:
        names, types = _parse_header(path, lines.readline(), item_field)
        item_column = names.index(item_field)
        rows: dict[str, list[str]] = {}
        duplicates = 0
        for number, line in enumerate(lines, start=2):
            line = line.rstrip("\r\n")
            if not line:
                continue
            row = line.split("\t")
            if len(row) != len(names):
                raise SourceDataError(
                    f"{path}, line {number}: {len(row)} fields, but the header names {len(names)} "
                    f"({', '.join(names)}). One tab separates fields; an empty field still needs its tab."
                )
            token = row.pop(item_column)
            if not token:
                raise SourceDataError(f"{path}, line {number}: '{item_field}' is empty. Name the item.")
            if token in rows:
                duplicates += 1
            else:
                rows[token] = row
    if not rows:
        raise SourceDataError(f"{path} has a header but no items. Get or convert it again.")
    if duplicates:
        logger.warning("%s: %d rows repeat an item that has a row already; the first is used.", path, duplicates)
    names.remove(item_field)
    index = pd.Index(list(rows), name=item_field, dtype=object)
    fields = pd.DataFrame(list(rows.values()), index=index, columns=names, dtype=object)
    fields.attrs[_TYPES_KEY] = types
    return fields


def _parse_header(path: Path, header: str, item_field: str) -> tuple[list[str], dict[str, str]]:
    names: list[str] = []
    types: dict[str, str] = {}
    for column in header.rstrip("\r\n").split("\t"):
        name, _, kind = column.rpartition(":")
        if not name or kind not in _TYPES:
            raise SourceDataError(
                f"{path}, line 1: the header column '{column}' has no type. Every column is NAME:TYPE, with "
                f"a tab between columns and TYPE one of {', '.join(_TYPES)}; "
                f"for example '{item_field}:token<TAB>title:token_seq'."
            )
        if name in types:
            raise SourceDataError(f"{path}, line 1: the header names '{name}' twice. Rename or drop one column.")
        names.append(name)
        types[name] = kind
    if item_field not in types:
        raise SourceDataError(
            f"{path}, line 1: no column '{item_field}', only {', '.join(names)}. "
            f"Rename the item column, or set ITEM_ID_FIELD to its name."
        )
    return names, types


# --- rendering ---


def default_template(fields: pd.DataFrame) -> list[str]:
    """A template of every text column of ``fields`` in file order: those of a token type that aren't ids.

    Raises:
        ConfigurationError: there is no such column.
    """
    types: dict[str, str] = fields.attrs.get(_TYPES_KEY, {})
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
    parts = [template] if isinstance(template, str) else list(template)
    if not parts:
        raise ConfigurationError("The item text's template is empty. Give parts such as ['{title}'].")
    parsed = [_parse_part(part, fields) for part in parts]
    used = {name for pieces in parsed for _, name in pieces if name is not None}
    values = {name: [clean(value) for value in fields[name]] for name in used}
    texts = [
        _as_sentences(
            "".join(before + (values[name][row] if name is not None else "") for before, name in pieces)
            for pieces in parsed
            if any(values[name][row] for _, name in pieces if name is not None)
        )
        for row in range(len(fields))
    ]
    return pd.Series(texts, index=fields.index, name="text", dtype=object)


def _parse_part(part: str, fields: pd.DataFrame) -> list[tuple[str, str | None]]:
    """Pairs of literal text and the field that follows it (``None`` at the end of the part)."""
    where = f"Template part {part!r}"
    if not isinstance(part, str):
        raise ConfigurationError(f'{where} isn\'t text. In YAML it needs quotes, as in "{{title}}".')
    try:
        pieces = list(string.Formatter().parse(part))
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}. A field is written {{title}}, a brace {{{{.") from None
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise ConfigurationError(f"{where}: only plain fields such as {{title}} are understood.")
    names = [name for _, name, _, _ in pieces if name is not None]
    if not names:
        raise ConfigurationError(f"{where} names no field. Write it into a part that does, or leave it out.")
    for name in names:
        if name not in fields.columns:
            raise ConfigurationError(f"{where}: no field '{name}'. There are: {_listed(fields)}.")
    return [(before, name) for before, name, _, _ in pieces]


def _as_sentences(parts: Iterator[str]) -> str:
    text = ""
    for part in map(clean, parts):
        text += (" " if text[-1] in ".!?:;" else ". ") + part if text else part
    return clean(text)


def _listed(fields: pd.DataFrame) -> str:
    return ", ".join(map(str, fields.columns)) or "no fields at all"
