"""One score card: as a table, and in words for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from recbole_ext.records.card import Card, Gain, TuningCost
from recbole_ext.report.cells import NOTHING, Cell, Column, Row, Sheet, number_cell, percent_cell, text_cell
from recbole_ext.report.leaderboard import AT_LIMIT, ends_of, improvement_of
from recbole_ext.report.metrics import metric_title


def card_table(card: Card) -> pd.DataFrame:
    """A line for each dataset and recommender: score, random, gain with its interval, unseen items, seeds, trials."""
    return pd.DataFrame(
        [
            {
                "dataset": score.dataset,
                "model": score.model,
                card.metric: score.score,
                "random": score.random,
                **gain_columns(score.model, score.gain, "gain_%", ("low_%", "high_%")),
                "unseen_users": score.unseen.users if score.unseen else 0,
                "unseen": score.unseen.score if score.unseen else None,
                "unseen_random": score.unseen.random if score.unseen else None,
                "seeds": score.seeds,
                "trials": score.trials,
                "at_limit": score.at_limit,
            }
            for score in card.scores
        ]
    )


def card_lines(card: Card) -> list[str]:
    """One card as aligned tables for the terminal."""
    title = metric_title(card.metric)
    columns = [Column("dataset", "Dataset", numeric=False), Column("model", "Model", numeric=False)]
    columns += [Column(card.metric, title), Column("random", "Random"), Column("gain", "Gain")]
    columns += [Column("unseen", f"{title} unseen"), Column("seeds", "Seeds"), Column("trials", "Trials")]
    rows = [
        Row(
            [
                text_cell(score.dataset),
                text_cell(score.model + (f" {AT_LIMIT}" if score.at_limit else "")),
                score_cell(score.score),
                score_cell(score.random),
                gain_cell(score.gain),
                score_cell(score.unseen.score if score.unseen else None),
                number_cell(score.seeds, 0),
                number_cell(score.trials, 0),
            ]
        )
        for score in card.scores
    ]
    lines = [f"{card.name} ({card.vectors}), suite {card.suite}", *Sheet(columns, rows).lines(), ""]
    figures = ["dataset", "items", "width", "parameters", "ms / item", "peak MB", "mean cosine", "effective rank"]
    figures += ["hubness", "co-taken", "by chance"]
    columns = [Column(name, name.capitalize(), numeric=name != "dataset") for name in figures]
    lines += Sheet(columns, [_figures_row(of) for of in card.datasets]).lines()
    lines += [_tuning_line(tuning) for tuning in card.tuning]
    gain = gain_cell(card.gain)
    lines += ["", f"mean {title} {card.score:.4f}, gain over random vectors {gain.text} {gain.spread}".rstrip()]
    if any(score.at_limit for score in card.scores):
        lines.append(f"{AT_LIMIT}: runs that the epoch limit ended while they were still training")
    return [*lines, *([f"note: {card.note}"] if card.note else [])]


def _tuning_line(tuning: TuningCost) -> str:
    where = f" on {tuning.device}" if tuning.device else ""
    several = f", {tuning.processes} processes" if tuning.processes > 1 else ""
    return (
        f"tuned: {tuning.objective} on {', '.join(tuning.sources)}, of {tuning.encoder}: {tuning.examples:,} examples, "
        f"{tuning.seconds:,.0f} s{where}{several}"
    )


def gain_columns(
    name: str, gain: Gain | None, title: str | None = None, ends: tuple[str, str] | None = None
) -> dict[str, float]:
    """A gain and the ends of its interval as columns of a table, called after ``name`` or as given."""
    low, high = ends or ends_of(name)
    values = (gain.mean, gain.low, gain.high) if gain else (None, None, None)
    return {
        key: math.nan if value is None else value
        for key, value in zip((title or improvement_of(name), low, high), values, strict=True)
    }


def gain_cell(gain: Gain | None) -> Cell:
    """A gain in per cent, its mark and its interval."""
    if gain is None:
        return Cell(NOTHING)
    return percent_cell(gain.mean, gain.low, gain.high, gain.mark)


def score_cell(value: float | None) -> Cell:
    """A metric's value."""
    return number_cell(value, 4)


def _figures_row(of: Any) -> Row:
    vectors, cost = of.vectors, of.cost
    shown: Iterable[tuple[Any, int]] = (
        (of.covered if of.covered is not None else of.items, 0),
        (vectors and vectors.width, 0),
        (cost and cost.parameters, 0),
        (cost and cost.milliseconds_per_item, 3),
        (cost and cost.peak_memory_mb, 0),
        (vectors and vectors.mean_cosine, 3),
        (vectors and vectors.effective_rank, 1),
        (vectors and vectors.hubness, 2),
        (vectors and vectors.co_taken, 3),
        (vectors and vectors.co_taken_by_chance, 3),
    )
    return Row([text_cell(of.dataset), *(number_cell(value, decimals) for value, decimals in shown)])
