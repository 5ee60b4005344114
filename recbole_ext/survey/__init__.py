"""Every model of RecBole and of this package, tried: does it run, does the hook attach, does it equal stock RecBole?

The data are ml-100k, which lies in RecBole's wheel, with made-up vectors of its entities and relations, and a slice of
it for the comparison with stock RecBole: one epoch each, in processes of their own, same keys, same seed, every metric
of validation and test to the last digit. Stock RecBole runs without any line of this package; where it then fails, with
the compat layer and without its count of FLOPs, and the table says so.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from recbole_ext.errors import RecboleExtError
from recbole_ext.models import model_class, model_names
from recbole_ext.recbole_models import recboles
from recbole_ext.survey.comparison import compared
from recbole_ext.survey.keys import PROTOCOL, SECONDS_OF_AN_EPOCH, keys_for, on_slice
from recbole_ext.survey.movies import SLICE, write_movies
from recbole_ext.survey.page import as_page
from recbole_ext.survey.processes import in_processes, stock
from recbole_ext.survey.surveyed import Surveyed
from recbole_ext.writing import replacing_file, write_json

log = logging.getLogger(__name__)

IN_ONE_RUN = ("RaCT", "S3Rec")
"""Pre-training and training are several runs in stock RecBole and one here, so that there is nothing to compare."""
MODELS_IN_A_PROCESS = 10
TRY_SLICE = """
from pathlib import Path
from recbole_ext.survey.trials import try_slice
run = lambda model, folder: try_slice(model, Path(folder))
"""
TIME_EPOCH = """
from pathlib import Path
from recbole_ext.survey.trials import time_epoch
run = lambda model, folder, limit: time_epoch(model, Path(folder), limit)
"""


def survey(
    models: Sequence[str] | None = None,
    records: Path = Path("results/models.json"),
    page: Path = Path("docs/models.md"),
    limit: int = 900,
) -> list[Surveyed]:
    """Try ``models`` and write what was found: ``records`` as JSON, ``page`` as a table.

    Without names it goes on where it was: all models that ``records`` does not have, and the epochs that it has no
    seconds of. What it says about other models stays. Written again after every few models, so that an interrupted
    survey keeps what it found; the slow part, an epoch on the whole data, comes last.

    Args:
        limit: seconds of processor time for one run of a model.
    """
    found = {row["model"]: Surveyed(**{**row, "keys": tuple(row["keys"])}) for row in _read(records)}
    names = list(models or (model for model in model_names() if model not in found))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_movies(folder)
        for first in range(0, len(names), MODELS_IN_A_PROCESS):
            part = names[first : first + MODELS_IN_A_PROCESS]
            log.info("survey: trying %s", ", ".join(part))
            found |= {row.model: row for row in _try(part, folder, limit)}
            _write(found, records, page)
        timed = names if models else [model for model, row in found.items() if row.seconds is None]
        running = [model for model in timed if found[model].runs == "yes"]
        for first in range(0, len(running), MODELS_IN_A_PROCESS):
            part = running[first : first + MODELS_IN_A_PROCESS]
            log.info("survey: an epoch each of %s", ", ".join(part))
            cases = [[model, name, SECONDS_OF_AN_EPOCH] for model in part]
            for model, epoch in zip(part, in_processes(TIME_EPOCH, cases, folder, limit), strict=True):
                seconds, estimated = epoch.get("seconds"), epoch.get("estimated", False)
                found[model] = replace(found[model], seconds=seconds, estimated=estimated)
            _write(found, records, page)
    return list(found.values())


def _read(records: Path) -> list[dict[str, Any]]:
    return json.loads(records.read_text(encoding="utf-8")) if records.is_file() else []


def _write(found: dict[str, Surveyed], records: Path, page: Path) -> None:
    rows = [found[model] for model in sorted(found, key=str.lower)]
    write_json(records, [asdict(row) for row in rows])
    with replacing_file(page) as temporary:
        temporary.write_text(as_page(rows), encoding="utf-8")


def _try(models: Sequence[str], folder: Path, limit: int) -> list[Surveyed]:
    """These models on the slice, here and in stock RecBole."""
    kinds, rows = {}, []
    for model in models:
        try:
            kinds[model] = model_class(model).type.name
        except RecboleExtError as error:
            rows.append(Surveyed(model, "", f"refused: {error}"))
    tried = in_processes(TRY_SLICE, [[model, str(folder)] for model in kinds], folder, limit)
    ours = dict(zip(kinds, tried, strict=True))
    beside_stock = [
        model
        for model, result in ours.items()
        if "metrics" in result and model in recboles() and model not in IN_ONE_RUN
    ]
    of_slice = {"data_path": str(folder)}
    cases = [(m, SLICE, {**PROTOCOL, **keys_for(m, kinds[m]), **on_slice(m), **of_slice}) for m in beside_stock]
    theirs = dict(zip(beside_stock, stock(cases, folder, limit), strict=True))
    for model, result in ours.items():
        refused = f"refused: {result['refused']}" if "refused" in result else result.get("failure")
        rows.append(
            Surveyed(
                model=model,
                kind=kinds[model].lower(),
                runs=refused or "yes",
                tables=result.get("tables", ""),
                samples=result.get("samples", ""),
                keys=tuple(f"{key}: {json.dumps(value)}" for key, value in keys_for(model, kinds[model]).items()),
                equals_stock=compared(result["metrics"], theirs[model]) if model in theirs else "–",
            )
        )
    return rows
