"""Gain against cost: which vectors no others beat in both, and the figure of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from recbole_ext.records.card import Card
from recbole_ext.report.figures import Drawing, drawn_figure
from recbole_ext.report.looks import INK, Looks
from recbole_ext.report.metrics import metric_title

_LINES = ("--", ":", "-.")


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


def _places_of_names(cards: Sequence[Card]) -> list[tuple[tuple[int, int], str]]:
    """Where each card's name stands beside its marker, in points, and how it is aligned: to the left of the costliest,
    whose names would leave the figure, and below the marker where a name is just above."""
    costs = [math.log(card.milliseconds_per_item or 1.0) for card in cards]
    gains = [card.gain.mean for card in cards]
    width, height = max(costs) - min(costs) or 1.0, max(gains) - min(gains) or 1.0
    places = []
    for cost, gain in zip(costs, gains, strict=True):
        is_right = (cost - min(costs)) / width > 0.8
        is_below = any(
            0 < other - gain < 0.06 * height and abs(at - cost) < 0.3 * width
            for at, other in zip(costs, gains, strict=True)
        )
        places.append(((-6 if is_right else 6, -11 if is_below else 5), "right" if is_right else "left"))
    return places


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
        for card, (offset, side) in zip(shown, _places_of_names(shown), strict=True):
            ax.annotate(
                card.name,
                (cost[card.name], card.gain.mean),
                xytext=offset,
                textcoords="offset points",
                ha=side,
                fontsize=8,
                fontweight="bold" if card in best else "normal",
            )
        ax.axhline(0.0, color=INK, linewidth=0.8)
        ax.set_xscale("log")
        ax.margins(x=0.18)
        ax.set_xlabel("milliseconds per item (logarithmic)")
        ax.set_ylabel(f"gain in {metric_title(shown[0].metric)} over random vectors, %")
        figure.legend(loc="outside lower center", ncols=6)
    names = ", ".join(card.name for card in best)
    missing = [card.name for card in cards if card not in shown]
    without = f" Without a known cost, and so not shown: {', '.join(missing)}." if missing else ""
    of = "" if len(devices) == 1 else " of their device"
    measured = f" Milliseconds were measured on {', '.join(map(str, devices))}."
    said = f"Whiskers: 95 % interval. On the front, which no others{of} beat in both: {names}.{measured}{without}"
    return Drawing(path, title, said)
