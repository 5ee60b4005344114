"""How a thing looks in every figure: colours that colour-blind readers tell apart, markers that say the same again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# Okabe and Ito's, but yellow, which is too faint for a line on white, and grey, which is kept for baselines.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#332288")
BASELINE = "#8c8c8c"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h", "d")
_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++")
INK = "#24292f"


@dataclass(frozen=True)
class Look:
    """One thing's; no two things of the same :class:`Looks` have the same."""

    colour: str
    marker: str
    line: str
    hatch: str


@dataclass(frozen=True)
class Looks:
    """The looks of named things, the same in all figures: ``baselines`` in greys, the others in colours, in order."""

    names: list[str]
    baselines: frozenset[str] = frozenset()
    _looks: dict[str, Look] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # Where the colours come round again, a line's dashes and a bar's hatches tell things apart.
        coloured = [(colour, *style) for style in zip(_LINES, _HATCHES, strict=False) for colour in COLOURS]
        grey = [(BASELINE, *style) for style in zip(_LINES, _HATCHES, strict=False)]
        for kind, names in (
            (grey, [name for name in self.names if name in self.baselines]),
            (coloured, [name for name in self.names if name not in self.baselines]),
        ):
            for number, name in enumerate(names):
                colour, line, hatch = kind[number % len(kind)]
                marker = MARKERS[number % len(MARKERS)]
                self._looks[name] = Look(colour, marker, line, hatch)

    @classmethod
    def of(cls, names: Iterable[str], baselines: Iterable[str] = ()) -> Looks:
        return cls(list(dict.fromkeys(names)), frozenset(baselines))

    def __getitem__(self, name: str) -> Look:
        return self._looks[name]
