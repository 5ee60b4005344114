"""The first stage: source files to RecBole's atomic files.

A format is a module that reads its source into ``SourceData``; cleaning, counting and writing are the same
for all of them. ``FORMATS`` holds those that there are, by name.
"""

from __future__ import annotations

from recbole_ext.convert.formats import FORMATS, Format
from recbole_ext.convert.report import ConversionReport
from recbole_ext.convert.source import SourceData
from recbole_ext.convert.stage import convert

__all__ = ["FORMATS", "ConversionReport", "Format", "SourceData", "convert"]
