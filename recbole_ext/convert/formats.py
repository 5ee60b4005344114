"""The source formats there are, by the name that ``--format`` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recbole_ext.convert import amazon2014, amazon2018, amazon2023, csv_tables, lcrec
from recbole_ext.convert.source import SourceData


@dataclass(frozen=True)
class Format:
    """``read(source, name)`` reads the path that the user gave; ``source_is`` says what it must be."""

    read: Callable[[Path, str], SourceData]
    source_is: str


FORMATS: dict[str, Format] = {
    "lcrec": Format(lcrec.read, "a folder with NAME.inter.json and NAME.item.json"),
    "csv": Format(csv_tables.read, "a folder with interactions.csv and items.csv"),
    "amazon2014": Format(amazon2014.read, f"a folder with {amazon2014.RELEASE.files}"),
    "amazon2018": Format(amazon2018.read, f"a folder with {amazon2018.RELEASE.files}"),
    "amazon2023": Format(amazon2023.read, f"a folder with {amazon2023.RELEASE.files}"),
}
