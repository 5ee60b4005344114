"""The run records that a benchmark left, for studies that train nothing themselves."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.records import Record, grouped, load_records, newest_of_each_seed, select_candidates
from recbole_ext.study import STUDIES


def finished_records(folder: Path) -> list[Record]:
    """The finished runs of ``results/NAME`` that its leaderboard stands on, in its order.

    Raises:
        ConfigurationError: there is none, or a record is damaged; says which command makes them.
    """
    finished = [record for record in load_records(folder) if record["status"] == "done"]
    if not finished:
        study = folder.name.removeprefix("study-")
        made_by = f"study {study}" if study != folder.name and study in STUDIES else f"run {folder.name}.yaml"
        raise ConfigurationError(f"{folder / 'runs'}: no record of a finished run. Make them: `recbole-ext {made_by}`.")
    chosen = select_candidates(newest_of_each_seed(finished))
    return [record for members in grouped(chosen).values() for record in members]


def spoken(model: str, init: str, mode: str) -> str:
    """What a run is called in a sentence or a legend; the usual modes need no mention."""
    return f"{model} {init}" + ("" if mode in ("-", "full", "text", init) else f" ({mode})")
