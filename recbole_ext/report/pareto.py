"""Gain against cost: which vectors no others beat in both, and the figure of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.records.card import Card
from recbole_ext.report.figures import Drawing, drawn_figure
from recbole_ext.report.looks import INK, Looks
from recbole_ext.report.metrics import metric_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_LINES = ("--", ":", "-.")
_Place = tuple[tuple[float, float], str]
_PLACES: list[_Place] = [
    ((side * across, up), "left" if side > 0 else "right")
    for across, up in ((7, 5), (7, -6), (7, 12), (7, -13), (7, 19), (7, -20), (3, 26), (3, -27))
    for side in (1, -1)
]
"""Of a name beside its marker, in points, and how it is aligned; the first are preferred."""


def front(cards: Sequence[Card]) -> list[Card]:
    """Of the cards with a known cost those that no other one of the same device beats in gain and in milliseconds per
    item, by cost."""
    found: list[Card] = []
    best: dict[str | None, float] = {}
    costs = {card.name: card.milliseconds_per_item for card in cards}
    known = [card for card in cards if costs[card.name]]
    for card in sorted(known, key=lambda card: (costs[card.name] or 0.0, -card.gain.mean)):
        if card.gain.mean > best.get(card.measured_on, -float("inf")):
            found.append(card)
            best[card.measured_on] = card.gain.mean
    return found


def _write_names(figure: Figure, ax: Axes, cards: Sequence[Card], best: Sequence[Card]) -> None:
    """Each card's name beside its marker, at the first place that covers no other name and no marker, or the least."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # the axes stand where they will be drawn
    points = {card.name: (card.milliseconds_per_item or 0.0, card.gain.mean) for card in cards}
    reach = 5 * figure.dpi / 72  # of a marker
    taken = [
        Bbox.from_bounds(x - reach, y - reach, 2 * reach, 2 * reach)
        for x, y in ax.transData.transform([*points.values()])
    ]
    for card in cards:
        name = ax.annotate(
            card.name,
            points[card.name],
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            fontweight="bold" if card in best else "normal",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],  # lines pass behind it
        )
        name.set_in_layout(False)
        covered = {place: _covered(name, place, taken, ax.bbox) for place in _PLACES}
        _put(name, min(_PLACES, key=lambda place: covered[place]))
        taken.append(name.get_window_extent())


def _put(name: Annotation, place: _Place) -> None:
    name.set_position(place[0])
    name.set(ha=place[1], va="center")


def _covered(name: Annotation, place: _Place, taken: Sequence[Bbox], inside: Bbox) -> float:
    """The area of what is ``taken`` that the name would cover at a place, and of its own beyond the axes."""
    from matplotlib.transforms import Bbox

    _put(name, place)
    own = name.get_window_extent()
    overlaps = [Bbox.intersection(own, box) for box in taken]
    seen = Bbox.intersection(own, inside)
    return sum(_area(box) for box in overlaps if box) + _area(own) - (_area(seen) if seen else 0.0)


def _area(box: Bbox) -> float:
    return float(abs(box.width * box.height))


def draw_front(cards: Sequence[Card], suite: str, folder: Path) -> Drawing | None:
    """Write ``folder``/pareto-SUITE.png; ``None`` where fewer than two cards have a cost.

    The same cards give the same bytes.
    """
    shown = [card for card in cards if card.milliseconds_per_item]
    path = folder / f"pareto-{re.sub(r'[^a-z0-9]+', '-', suite.lower())}.png"
    if len(shown) < 2:
        path.unlink(missing_ok=True)
        return None
    best = front(shown)
    devices = dict.fromkeys(card.measured_on for card in best)
    looks = Looks.of((card.kind for card in shown), kinds={card.kind: card.kind for card in shown})
    cost = {card.name: card.milliseconds_per_item or 0.0 for card in shown}
    title = f"Gain and cost of item vectors, suite {suite}"
    with drawn_figure(path, title, 1, (8.4, 4.6), 1) as (figure, (ax,)):
        for kind in dict.fromkeys(card.kind for card in shown):
            of_kind = [card for card in shown if card.kind == kind]
            for card in of_kind:
                low, high = card.gain.low, card.gain.high
                if low is not None and high is not None:
                    ax.vlines(cost[card.name], low, high, color=looks[kind].colour, linewidth=0.9, alpha=0.6)
            ax.plot(
                [cost[card.name] for card in of_kind],
                [card.gain.mean for card in of_kind],
                looks[kind].marker,
                color=looks[kind].colour,
                label=kind,
                markeredgecolor="white",
                markersize=8,
            )
        for number, device in enumerate(devices):
            of_device = [card for card in best if card.measured_on == device]
            ax.step(
                [cost[card.name] for card in of_device],
                [card.gain.mean for card in of_device],
                where="post",
                color=INK,
                linewidth=1.0,
                linestyle=_LINES[number % len(_LINES)],
                label="front" if len(devices) == 1 else f"front, {device}",
            )
        ax.axhline(0.0, color=INK, linewidth=0.8)
        ax.set_xscale("log")
        ax.margins(x=0.18)
        ax.set_xlabel("milliseconds per item (logarithmic)")
        ax.set_ylabel(f"gain in {metric_title(shown[0].metric)} over random vectors, %")
        figure.legend(loc="outside lower center", ncols=6)
        _write_names(figure, ax, shown, best)
    names = ", ".join(card.name for card in best)
    missing = [card.name for card in cards if card not in shown]
    without = f" Without a known cost, and so not shown: {', '.join(missing)}." if missing else ""
    of = "" if len(devices) == 1 else " of their device"
    measured = f" Milliseconds were measured on {', '.join(map(str, devices))}."
    said = f"Whiskers: 95 % interval. On the front, which no others{of} beat in both: {names}.{measured}{without}"
    return Drawing(path, title, said)
