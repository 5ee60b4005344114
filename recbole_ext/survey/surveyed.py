"""What the survey finds out about a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Surveyed:
    """What was found out about one model.

    Attributes:
        kind: RecBole's type of it, in lower case; empty where the model could not even be imported.
        runs: ``yes``, or why not, in a sentence.
        tables: where the hook attaches; ``reads them itself``, or empty where there is no place.
        samples: what it is trained on by default.
        keys: what it needs beyond its name, on ml-100k.
        seconds: of processor time, for one epoch on ml-100k.
        estimated: whether the seconds are estimated from a part of the epoch.
        equals_stock: ``yes``, ``yes, mended: WHAT`` where stock RecBole fails by itself, or what was different.
    """

    model: str
    kind: str
    runs: str
    tables: str = ""
    samples: str = ""
    keys: tuple[str, ...] = ()
    seconds: float | None = None
    estimated: bool = False
    equals_stock: str = ""
