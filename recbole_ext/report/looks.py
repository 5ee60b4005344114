"""How a thing looks in every figure: colours that colour-blind readers tell apart, markers that say the same again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

# Okabe and Ito's, but yellow, which is too faint for a line on white, and grey, which is kept for baselines; and more.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#332288", "#661100", "#aa9900")
BASELINE = "#8c8c8c"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h", "d")
_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++")
INK = "#24292f"
_KINDS = ("encoder", "lexical", "cooccurrence", "static", "item2vec", "fused", "finetune", "shuffled", "gaussian")
"""Kinds of vector sources, each with the colour and the marker at its place, on every page."""


@dataclass(frozen=True)
class Look:
    """One thing's; no two things of the same :class:`Looks` have the same."""

    colour: str
    marker: str
    line: str
    hatch: str


@dataclass(frozen=True)
class Looks:
    """The looks of named things, the same in all figures: ``baselines`` in greys, the others in colours.

    The first thing of one of the ``kinds`` of vector sources looks as all pages show that kind; the others have what is
    left, in order.
    """

    names: list[str]
    baselines: frozenset[str] = frozenset()
    kinds: Mapping[str, str] = field(default_factory=dict)
    _looks: dict[str, Look] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # Where the colours come round again, a line's dashes and a bar's hatches tell things apart.
        coloured = [(colour, *style) for style in zip(_LINES, _HATCHES, strict=False) for colour in COLOURS]
        grey = [(BASELINE, *style) for style in zip(_LINES, _HATCHES, strict=False)]
        others = [name for name in self.names if name not in self.baselines]
        for styles, places in (
            (grey, dict(enumerate(name for name in self.names if name in self.baselines))),
            (coloured, self._places(others)),
        ):
            for place, name in places.items():
                colour, line, hatch = styles[place % len(styles)]
                self._looks[name] = Look(colour, MARKERS[place % len(MARKERS)], line, hatch)

    def _places(self, names: list[str]) -> dict[int, str]:
        first = {self.kinds[name]: name for name in reversed(names) if name in self.kinds}
        places = {place: first[kind] for place, kind in enumerate(_KINDS) if kind in first}
        left = [name for name in names if name not in places.values()]
        free = (place for place in count() if place not in places)
        return places | dict(zip(free, left, strict=False))

    @classmethod
    def of(cls, names: Iterable[str], baselines: Iterable[str] = (), kinds: Mapping[str, str] | None = None) -> Looks:
        return cls(list(dict.fromkeys(names)), frozenset(baselines), kinds or {})

    def __getitem__(self, name: str) -> Look:
        return self._looks[name]
