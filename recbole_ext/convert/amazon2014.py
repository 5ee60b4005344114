"""Format ``amazon2014``: ``reviews_X.json.gz`` (also ``reviews_X_5.json.gz``) and ``meta_X.json.gz``.

The release of 1996 to 2014. Reviews are JSON, but a line of metadata is a Python dict literal; categories are
paths, a list of lists; many products have no title or brand.
"""

from __future__ import annotations

from pathlib import Path

from recbole_ext.convert.amazon import Release, read_release
from recbole_ext.convert.record_lines import json_or_literal_record
from recbole_ext.convert.source import SourceData

RELEASE = Release(
    files="one reviews_X.json.gz and at most one meta_X.json.gz",
    reviews=r"reviews_.*\.json(\.gz)?",
    metadata=r"meta_.*\.json(\.gz)?",
    parse=json_or_literal_record,
    user="reviewerID",
    item="asin",
    time="unixReviewTime",
    rating="overall",
    text=lambda item: (item.get("title"), item.get("brand"), item.get("categories"), item.get("description")),
)


def read(source: Path, name: str) -> SourceData:
    """Read the release's files in folder ``source`` (see ``read_release``); ``name`` plays no part."""
    return read_release(source, RELEASE)
