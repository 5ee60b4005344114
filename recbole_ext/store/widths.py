"""Which of some vectors is of another width than the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized


def odd_one_out(vectors: Sequence[Sized]) -> tuple[int, int] | None:
    """The place, from 0, of the first vector whose width is not that of most, and that width; ``None``: all are alike.

    There is one vector at least. The first vector may be the wrong one, so that the others are not measured by it.
    """
    ((width, _),) = Counter(map(len, vectors)).most_common(1)
    place = next((place for place, vector in enumerate(vectors) if len(vector) != width), None)
    return None if place is None else (place, width)
