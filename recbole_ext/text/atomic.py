"""An atomic file as text: ``name:type`` columns in line 1, a row a line, no quoting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import SequenceMatcher
from pathlib import Path
from typing import TextIO

from recbole_ext.errors import SourceDataError

TYPES = ("token", "token_seq", "float", "float_seq")

_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "spaces", "::": "'::'"}


@contextmanager
def open_text(path: Path, encoding: str | None = None, instead: str = "convert the dataset first") -> Iterator[TextIO]:
    """Open a text file, UTF-8 by default; a byte order mark is skipped, and only ``\\n`` ends a line.

    Args:
        instead: the way out where the file is missing and its name is right, for the error.

    Raises:
        SourceDataError: the file is missing, empty or unreadable, or a line read inside the ``with`` block is
            not in that encoding (the message names the line).
    """
    name = encoding or "utf-8"
    try:
        if path.is_dir():
            raise SourceDataError(f"{path} is a folder; a file is expected there.")
        if path.stat().st_size == 0:
            raise SourceDataError(f"{path} is empty. Get or convert it again.")
        with path.open(encoding="utf-8-sig" if name.lower() in ("utf-8", "utf8") else name, newline="\n") as file:
            yield file
    except FileNotFoundError:
        raise SourceDataError(f"{path} doesn't exist. {_what_is_there(path, instead)}") from None
    except UnicodeDecodeError as error:
        way_out = "Save the file as UTF-8." if encoding is None else "Set the key `encoding` to the file's."
        raise SourceDataError(
            f"{path}, line {_undecodable_line(path, name)}: not {name.upper()} ({error.reason}). {way_out}"
        ) from error
    except OSError as error:
        raise SourceDataError(f"{path} can't be read: {error.strerror or error}.") from error


def _undecodable_line(path: Path, encoding: str) -> int | str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return "?"  # the file changed under our hands


def parse_header(path: Path, line: str, separator: str = "\t") -> dict[str, str]:
    """Column to type, in the order of the file, of an atomic file's first line.

    Raises:
        SourceDataError: another separator, a column without a type or with an unknown one, or one that is there twice.
    """
    types: dict[str, str] = {}
    for column in line.rstrip("\r\n").split(separator):
        name, colon, kind = column.partition(":")
        if not name or kind not in TYPES:
            raise SourceDataError(
                f"{path}, line 1: "
                + (_other_separator(line, separator) or f"the header column '{column}' has no type. ")
                + f"Every column is NAME:TYPE, with {_name(separator)} between columns and TYPE one of "
                f"{', '.join(TYPES)}; for example 'item_id:token{_shown(separator)}title:token_seq'."
            )
        if name in types:
            raise SourceDataError(f"{path}, line 1: the header names '{name}' twice. Rename or drop one column.")
        types[name] = kind
    return types


def _other_separator(line: str, separator: str) -> str | None:
    """What to say where the columns make sense under another separator than the one that was given."""
    for other, name in _SEPARATORS.items():
        columns = line.rstrip("\r\n").split(other)
        typed = all(column.partition(":")[0] and column.partition(":")[2] in TYPES for column in columns)
        one_column = separator not in line.rstrip("\r\n") and other != " "
        if other != separator and len(columns) > 1 and (typed or one_column):
            return (
                f"the columns look separated by {name}, and {_name(separator)} are expected. Set the key "
                f'field_separator: "{_escaped(other)}" in the dataset\'s config, or separate by {_name(separator)}. '
            )
    return None


def _name(separator: str) -> str:
    return _SEPARATORS.get(separator, repr(separator))


def _escaped(separator: str) -> str:
    return separator.replace("\t", "\\t")


def _shown(separator: str) -> str:
    return "<TAB>" if separator == "\t" else separator


def _what_is_there(missing: Path, instead: str) -> str:
    """The way out where a file is missing: what stands beside it, which shows a name that was spelled otherwise."""
    there = [path.name for path in missing.parent.glob("*") if path.is_file()]
    beside = sorted(there, key=lambda name: (-SequenceMatcher(None, name, missing.name).ratio(), name))
    if not beside:
        return f"Check the path, or {instead}."
    shown = ", ".join(name if name.isprintable() else ascii(name) for name in beside[:5])
    more = f" and {len(beside) - 5} more" if len(beside) > 5 else ""
    return f"Beside it there is {shown}{more}. Check the name, or {instead}."
