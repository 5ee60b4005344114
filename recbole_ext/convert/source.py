"""What every source format is read into, and which tokens an atomic file can carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from recbole_ext.errors import SourceDataError

# What shops say about an item, in the order in which it makes a text.
FIELDS = ("title", "brand", "categories", "description")


@dataclass(frozen=True)
class SourceData:
    """A dataset as its source has it, before cleaning.

    ``interactions``: one row each, every user's in the order of time; columns ``user_id`` and ``item_id``
    (tokens: ``str``, or categories where there may be many rows), ``timestamp`` and, where the source has one,
    ``rating`` (numbers; NaN where a rating is missing).
    ``items``: one row per item that the source describes, indexed by item token, columns of raw text.
    ``duplicate_items``: descriptions left out because their item has an earlier one.
    ``cleaned``: field of ``items`` to the number of its texts that reading has changed by cleaning them.
    ``dropped``: reason to count of what else the source holds and ``interactions`` doesn't.
    ``read_as``: field of the source to the field of ``items`` that it was read as, where the names differ.
    ``not_read``: field of the source that nothing here reads, to how many rows or items have it.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    duplicate_items: int = 0
    cleaned: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    read_as: Mapping[str, str] = field(default_factory=dict)
    not_read: Mapping[str, int] = field(default_factory=dict)


_UNREADABLE = re.compile(r"^\s|\s$|[^\S ]|[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check_token(token: str, where: str) -> None:
    """Raise ``SourceDataError`` if RecBole would lose or change ``token`` when it loads the atomic file.

    ``where`` begins the message: the file and the line or key.
    """
    if not token:
        raise SourceDataError(f"{where}: an empty id. Give every user and item one.")
    if token == "[PAD]":
        raise SourceDataError(f"{where}: RecBole keeps the id '[PAD]' for itself. Rename it.")
    if _UNREADABLE.search(token):
        raise SourceDataError(
            f"{where}: RecBole can't read the id {token!r} back. An id must not begin or end with a space, or hold "
            "tabs, line ends or control characters. Rename it."
        )


def check_folder(source: Path, holds: str) -> None:
    """Raise ``SourceDataError`` unless ``source`` is a folder; ``holds`` says what should be in it."""
    if source.is_dir():
        return
    found = "is a file" if source.exists() else "doesn't exist"
    raise SourceDataError(f"{source} {found}. SOURCE is the folder that holds {holds}.")
