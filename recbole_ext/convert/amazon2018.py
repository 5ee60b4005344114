"""Format ``amazon2018``: ``X.json.gz`` (or ``X_5.json.gz``) and ``meta_X.json.gz``.

The release of 1996 to 2018, JSON lines. Some products were scraped badly: their title is a piece of the
page's script.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_ext.convert.amazon import Record, Release, read_release
from recbole_ext.convert.record_lines import json_record
from recbole_ext.convert.source import SourceData


def _text(item: Record) -> tuple[Any, Any, Any, Any]:
    title = item.get("title")
    if isinstance(title, str) and "getTime" in title:  # how the release's own notebook tells the bad titles
        title = None
    return title, item.get("brand"), item.get("category"), item.get("description")


RELEASE = Release(
    files="one X.json.gz or X_5.json.gz and at most one meta_X.json.gz",
    reviews=r"(?!meta_).*\.json(\.gz)?",
    metadata=r"meta_.*\.json(\.gz)?",
    parse=json_record,
    user="reviewerID",
    item="asin",
    time="unixReviewTime",
    rating="overall",
    text=_text,
)


def read(source: Path, name: str) -> SourceData:
    """Read the release's files in folder ``source`` (see ``read_release``); ``name`` plays no part."""
    return read_release(source, RELEASE)
