"""The source formats there are, by the name that ``--format`` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recbole_ext.convert import csv_tables, lcrec
from recbole_ext.convert.source import SourceData


@dataclass(frozen=True)
class Format:
    """``read(source, name)`` reads the path that the user gave; ``source_is`` says what it must be."""

    read: Callable[[Path, str], SourceData]
    source_is: str


FORMATS: dict[str, Format] = {
    "lcrec": Format(lcrec.read, "a folder with NAME.inter.json and NAME.item.json"),
    "csv": Format(csv_tables.read, "a folder with interactions.csv and items.csv"),
}
