"""Files of one record a line, plain or gzipped, read as a stream in which a few lines may be damaged."""

from __future__ import annotations

import ast
import gzip
import json
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from tqdm import tqdm

from recbole_ext.errors import SourceDataError

logger = logging.getLogger(__name__)

Parsed = TypeVar("Parsed")

# So many malformed lines are let pass in any file, and so large a share in a long one.
_TOLERATED_LINES = 10
_TOLERATED_SHARE = 0.01
# A file without one good line up to here is of another format: no need to read the rest of it.
_HOPELESS_LINES = 1000


def parsed_lines(path: Path, parse: Callable[[str], Parsed], dropped: Counter[str]) -> Iterator[Parsed]:
    """``parse(line)`` of every line of ``path`` in turn; blank lines are skipped.

    A line that isn't UTF-8, or for which ``parse`` raises ``ValueError``, is malformed: it is left out, and
    when the file has been read, ``dropped`` has their number.

    Raises:
        SourceDataError: the file is missing, empty, unreadable or ends in the middle, or more than ten of
            its lines and more than 1 % of them are malformed.
    """
    lines = malformed = 0
    first = ""
    with _open_lines(path) as file:
        for number, line in enumerate(tqdm(file, desc=path.name, unit=" lines", delay=3), start=1):
            if line.isspace():
                continue
            lines += 1
            try:
                parsed = parse(line.rstrip(b"\r\n").decode("utf-8"))
            except ValueError as error:
                malformed += 1
                first = first or f"line {number}, {_reason(error)}"
                if malformed == lines == _HOPELESS_LINES:
                    break
                continue
            yield parsed
    if malformed > _TOLERATED_LINES and malformed > _TOLERATED_SHARE * lines:
        raise SourceDataError(
            f"{path}: {malformed:,} of {lines:,} lines are malformed, the first of them {first}. "
            f"Check that --format fits the file, or get it again."
        )
    if malformed:
        logger.warning("%s: %d of %d lines are malformed, the first of them %s", path, malformed, lines, first)
        dropped[f"malformed lines of {path.name}"] += malformed


def json_record(line: str) -> dict[str, Any]:
    """The JSON object in ``line``, or ``ValueError``; raw tabs in its strings are let pass, NaN is null."""
    try:
        return _record(json.loads(line, strict=False, parse_constant=lambda _: None))
    except json.JSONDecodeError as error:
        raise ValueError(f"column {error.colno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_or_literal_record(line: str) -> dict[str, Any]:
    """The JSON object or the Python dict literal in ``line``, or ``ValueError``. Nothing is evaluated."""
    if line.startswith('{"'):  # Python writes its keys in single quotes
        return json_record(line)
    try:
        return _record(ast.literal_eval(line))
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"not a Python literal ({error.args[0] if error.args else error})") from None
    except (MemoryError, RecursionError):  # this is how Python's parser says it
        raise ValueError("nested too deeply") from None


def _record(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object with named fields")
    return value


def _reason(error: ValueError) -> str:
    return f"not UTF-8 ({error.reason})" if isinstance(error, UnicodeDecodeError) else str(error)


@contextmanager
def _open_lines(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.stat().st_size == 0:
            raise SourceDataError(f"{path} is empty. Get the file again.")
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except EOFError:
        raise SourceDataError(f"{path} ends in the middle: it was not downloaded in full. Get it again.") from None
    except zlib.error as error:
        raise SourceDataError(f"{path} is damaged ({error}). Get it again.") from None
    except OSError as error:
        raise SourceDataError(f"{path} can't be read: {error.strerror or error}.") from error
