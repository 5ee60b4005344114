"""What `recbole-ext report DIR` makes of a folder: one benchmark, the benchmarks below it, or score cards."""

from __future__ import annotations

import json
from pathlib import Path

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.grid import GRID

WANTED = (
    "Wanted is the folder of one benchmark, such as runs/NAME, which `recbole-ext run` writes, the folder of "
    "benchmarks above it, or a folder of score cards, which `recbole-ext score` writes"
)


def report_lines(folder: Path) -> tuple[list[str], bool]:
    """Write the reports of ``folder``; what there is to say about them, and whether all of it could be read.

    Raises:
        ConfigurationError: the folder is none of the three, or what it holds is damaged.
    """
    from recbole_ext.report import write_report, write_reports
    from recbole_ext.report.encoders import write_encoders

    _refuse_what_is_no_folder(folder)
    if (folder / GRID).is_file():
        return write_report(folder).lines(), True
    if holds_cards(folder):
        return write_encoders(folder).lines(), True
    if any(folder.glob(f"*/{GRID}")):
        reports = write_reports(folder)
        return reports.lines(), not reports.unreadable
    raise ConfigurationError(_what_it_is_instead(folder))


def holds_cards(folder: Path) -> bool:
    """Whether ``folder`` holds score cards, whole or not, rather than a benchmark's runs or the files of others."""
    return not (folder / GRID).exists() and any(map(_is_a_card, folder.glob("[!.]*.json")))


def _is_a_card(path: Path) -> bool:
    """By the key that cards have and run records, grids and lists of results have not."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "suite" in content and "scores" in content


def _refuse_what_is_no_folder(path: Path) -> None:
    if path.is_file():
        here = f": here {path.parent}" if (path.parent / GRID).is_file() or holds_cards(path.parent) else ""
        raise ConfigurationError(f"{path}: a file, and a report is made of a folder. {WANTED}{here}.")
    if not path.is_dir():
        raise ConfigurationError(f"{path}: no such folder. {WANTED}.")


def _what_it_is_instead(folder: Path) -> str:
    if (folder.parent / GRID).is_file():
        return f"{folder}: a part of the benchmark in {folder.parent}. Give that folder, one up."
    if not any(folder.iterdir()):
        return f"{folder}: the folder is empty. {WANTED}."
    files = sorted(path.name for path in folder.glob("[!.]*.json"))
    cards = f", and of its JSON files, such as {files[0]}, none is a score card" if files else " and no score card"
    return f"{folder}: there is no {GRID}, neither here nor one folder down{cards}. {WANTED}."
