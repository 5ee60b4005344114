"""What the survey of models says of an epoch: the samples that a model is trained on, and the seconds that it takes.

The survey's records lie in ``results/``, which a wheel does not hold; this part of them lies beside this module.
After a survey: ``python -m recbole_ext.benchmark.surveyed_epochs results/models.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recbole_ext.writing import write_json

FILE = Path(__file__).with_name("surveyed_epochs.json")


@dataclass(frozen=True)
class SurveyedEpoch:
    """``samples``: by default, see docs/models.md; ``seconds`` of a core on ml-100k, ``None`` where nobody measured."""

    samples: str
    seconds: float | None


@cache
def surveyed_epochs() -> dict[str, SurveyedEpoch]:
    """By model; those that the survey could not run are left out."""
    return {model: SurveyedEpoch(**row) for model, row in json.loads(FILE.read_text(encoding="utf-8")).items()}


def epochs_of_survey(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the file beside this module holds of the survey's records ``rows``."""
    return {row["model"]: asdict(SurveyedEpoch(row["samples"], row["seconds"])) for row in rows if row["runs"] == "yes"}


if __name__ == "__main__":
    write_json(FILE, epochs_of_survey(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
