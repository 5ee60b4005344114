"""``leaderboard.csv`` read again, for the pages above it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_ext.errors import ConfigurationError

LEADERBOARD = "leaderboard.csv"


def read_lines(folder: Path) -> list[dict[str, str]]:
    """The lines of the table in the folder of a benchmark, by column.

    Raises:
        ConfigurationError: it is not there, or no table of this package.
    """
    path = folder / LEADERBOARD
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        if lines and not {"source", "fair", "rank"} <= lines[0].keys():
            raise ValueError("columns are missing")
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8, too
        raise ConfigurationError(
            f"{path} can't be read ({error}). Make it again: recbole-ext report {folder}"
        ) from error
    return lines


def number_in(line: Mapping[str, Any], column: str) -> float:
    """NaN where the line has none."""
    return float(line.get(column) or math.nan)
