"""Pickles are never read: unpickling runs whatever code its author put in."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.errors import StoreError

CONVERT = (
    "Nothing is ever unpickled. Where you trust the file, load it yourself and write the matrix with "
    "numpy.save('NAME.npy', matrix) and its item tokens, in row order, as a JSON list to 'NAME.items.json'; "
    "then use NAME.npy."
)


def refuse_pickle(path: Path) -> None:
    """Raise StoreError if ``path`` is a pickle by its name or by its first bytes."""
    with path.open("rb") as file:
        head = file.read(2)
    # Protocols 2 to 5 begin with 0x80 and their number; older ones have no signature and fail as damaged
    # files.
    if path.suffix in {".pkl", ".pickle"} or (head[:1] == b"\x80" and head[1:] in {b"\2", b"\3", b"\4", b"\5"}):
        raise StoreError(f"{path} is a pickle. {CONVERT}")
