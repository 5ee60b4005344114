"""A further part of both documents: what it is about, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recbole_ext.report.cells import Sheet


@dataclass(frozen=True)
class Section:
    """``name`` is its id on the page, ``text`` one paragraph, ``sheets`` its tables by their captions."""

    name: str
    title: str
    text: str
    sheets: Mapping[str, Sheet]
