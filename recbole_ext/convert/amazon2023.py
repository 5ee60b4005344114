"""Format ``amazon2023``: ``X.jsonl.gz`` and ``meta_X.jsonl.gz``.

The release of 1996 to 2023, JSON lines. An item is the parent of its variants (``parent_asin``, which is what
the metadata describes), the store stands for the brand, and times are in milliseconds.
"""

from __future__ import annotations

from pathlib import Path

from recbole_ext.convert.amazon import Release, read_release
from recbole_ext.convert.record_lines import json_record
from recbole_ext.convert.source import SourceData

RELEASE = Release(
    files="one X.jsonl.gz and at most one meta_X.jsonl.gz",
    reviews=r"(?!meta_).*\.jsonl(\.gz)?",
    metadata=r"meta_.*\.jsonl(\.gz)?",
    parse=json_record,
    user="user_id",
    item="parent_asin",
    time="timestamp",
    rating="rating",
    text=lambda item: (item.get("title"), item.get("store"), item.get("categories"), item.get("description")),
    ticks_per_second=1000,
)


def read(source: Path, name: str) -> SourceData:
    """Read the release's files in folder ``source`` (see ``read_release``); ``name`` plays no part."""
    return read_release(source, RELEASE)
