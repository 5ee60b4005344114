"""SHA-256 of files and of plain values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_KNOWN: dict[tuple[str, int, int], str] = {}


def sha256_of_file(path: Path) -> str:
    """Of the file's content; read once as long as its time and size stay."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    if key not in _KNOWN:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        _KNOWN[key] = digest.hexdigest()
    return _KNOWN[key]


def sha256_of(value: Any) -> str:
    """Of a value of JSON's types; the order of a mapping's keys does not matter."""
    digest = hashlib.sha256()
    # Piece by piece: the texts of a million items are not to lie in memory once more.
    for piece in json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False).iterencode(value):
        digest.update(piece.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
