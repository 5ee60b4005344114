"""What a study leaves behind: ``study.json``, figures, a short text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from recbole_ext.errors import ConfigurationError
from recbole_ext.studies.settings import OVERRIDES
from recbole_ext.writing import replacing_folder, write_json, write_png

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Findings:
    """``table`` holds all numbers; ``sentence`` says what they show, made from them; ``text`` is Markdown."""

    title: str
    sentence: str
    table: pd.DataFrame
    notes: Sequence[str] = ()
    text: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)


PLACES = ("data_path", "dataset_configs", "artifacts")
"""Settings that say where something lies, not what it is."""


def refuse_other_settings(settings: BaseModel, out: Path) -> None:
    """See that ``out`` holds no study that other settings made: the new one would replace it.

    Raises:
        ConfigurationError: it does; names the keys that differ, and the ways out.
    """
    path = out / "study.json"
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (ValueError, TypeError, KeyError):
        return  # a damaged one, which the new one mends
    now = settings.model_dump(mode="json")
    defaults = type(settings).model_construct().model_dump(mode="json", warnings=False)
    before = {**defaults, **before}  # a setting that there was not yet had its default
    keys = sorted({*before, *now} - {OVERRIDES, *PLACES})  # overrides: of a benchmark, whose runs have their own folder
    differing = [f"{key}: {before.get(key)} (now {now.get(key)})" for key in keys if before.get(key) != now.get(key)]
    if differing:
        raise ConfigurationError(
            f"{path}: the study was made with other settings, {', '.join(differing)}, and the new one would replace "
            f"it. Give another place with --out, or delete {out}."
        )


def write_findings(findings: Findings, name: str, settings: BaseModel, out: Path, command: str) -> Path:
    """Write ``out/study.json`` (settings, the table's rows, versions, revision), ``out/*.png`` and ``out/text.md``.

    The folder is replaced as a whole; nothing half-written stays.
    """
    from recbole_ext.machine import git_revision, versions

    content = {
        "name": name,
        "title": findings.title,
        "sentence": findings.sentence,
        "command": command,
        "settings": settings.model_dump(mode="json"),
        "rows": json.loads(findings.table.to_json(orient="records")),
        "notes": list(findings.notes),
        "versions": versions(),
        "git_revision": git_revision(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with replacing_folder(out) as folder:
        write_json(folder / "study.json", content)
        for stem, figure in findings.figures.items():
            write_png(folder / f"{stem}.png", figure, dpi=110)
        if findings.text:
            (folder / "text.md").write_text(findings.text, encoding="utf-8")
    return out
