"""Score cards side by side: the page that ranks item vectors, their costs beside them, and its table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from recbole_ext.benchmark.suite import refuse_unknown, suite_names
from recbole_ext.errors import ConfigurationError
from recbole_ext.records.card import Card, Score, read_cards
from recbole_ext.report.boards import Board, RunList, Scale, filter_choices
from recbole_ext.report.cards import gain_cell, gain_columns, score_cell
from recbole_ext.report.cells import (
    Cell,
    Column,
    Row,
    Sheet,
    number_cell,
    text_cell,
)
from recbole_ext.report.figures import Drawing
from recbole_ext.report.leaderboard import AT_LIMIT, improvement_of
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.page import environment, render_html
from recbole_ext.report.pareto import draw_front
from recbole_ext.wording import listed
from recbole_ext.writing import replacing_file

MEAN = "mean"
NEIGHBOUR = "NearestNeighbour"
KEYS = ("suite", "kind", "name")
"""What rows of the page are filtered by."""


@dataclass(frozen=True)
class Group:
    """The cards of one version of one suite, the best first.

    Attributes:
        mean_rank: of each card over all datasets and trained recommenders.
    """

    cards: list[Card]
    mean_rank: dict[str, float]

    @property
    def title(self) -> str:
        return str(self.cards[0].suite)

    @property
    def columns(self) -> list[Score]:
        """The scores of the first card, which say what all of them are of."""
        return self.cards[0].trained

    @property
    def datasets(self) -> list[str]:
        return [of.dataset for of in self.cards[0].datasets]

    @property
    def baselines(self) -> str:
        """What random vectors score where cards don't agree on it, in words; empty where they do."""
        found: dict[str, set[float]] = {}
        for card in self.cards:
            for score in card.trained:
                if score.random is not None:
                    found.setdefault(f"{score.dataset}, {score.model}", set()).add(score.random)
        differing = {name: scores for name, scores in found.items() if len(scores) > 1}
        return "; ".join(f"{name} {min(scores):.4f} to {max(scores):.4f}" for name, scores in differing.items())

    @property
    def better(self) -> str:
        """How many cards' mean gain over random vectors is above zero with its whole interval, in words."""
        better = sum(card.gain.mark == "better" for card in self.cards)
        return f"the gains of {better} have a 95 % interval above zero (not corrected for the number of cards)"

    @property
    def first(self) -> list[Card]:
        """The cards of the best mean rank."""
        best = self.mean_rank[self.cards[0].name]
        return [card for card in self.cards if self.mean_rank[card.name] == best]

    @property
    def first_in_words(self) -> str:
        """What is said of them."""
        return "share the best mean rank" if len(self.first) > 1 else "has the best mean rank"

    @property
    def gains_of_the_first(self) -> str:
        """In per cent, each with its interval."""
        cells = [gain_cell(card.gain) for card in self.first]
        return listed([f"{cell.text} {cell.spread}".rstrip() for cell in cells])


@dataclass(frozen=True)
class EncodersReport:
    """The page of a folder of cards, and its table."""

    folder: Path
    groups: list[Group]

    @property
    def page(self) -> Path:
        return self.folder / "index.html"

    def to_pandas(self) -> pd.DataFrame:
        """A line for each card; see :func:`encoders_table`."""
        return encoders_table(self.groups)

    def lines(self) -> list[str]:
        """The main columns as aligned tables for the terminal, and where the rest is."""
        lines: list[str] = []
        for group in self.groups:
            lines += [group.title, *_glance(_sheet(group)).lines(), ""]
        return [*lines, f"all columns: {self.folder / 'table.md'}   page: {self.page}"]


@dataclass(frozen=True)
class Content:
    """What the page and the Markdown table show."""

    groups: list[Group]
    boards: list[Board]
    drawings: list[Drawing]

    @property
    def filters(self) -> dict[str, list[str]]:
        return filter_choices(self.boards)

    @property
    def sheets(self) -> list[tuple[str, Sheet]]:
        return [(board.title, _sheet(group)) for board, group in zip(self.boards, self.groups, strict=True)]

    @property
    def number(self) -> int:
        return sum(len(group.cards) for group in self.groups)

    @property
    def metric(self) -> str:
        return metric_title(self.groups[0].cards[0].metric)

    def list_of(self, row: Row) -> RunList | None:
        """Rows lead to cards, not to run records."""
        return None


def write_encoders(folder: Path) -> EncodersReport:
    """Write index.html, table.md, table.csv and figures of the cards in ``folder``, and of nothing else.

    Raises:
        ConfigurationError: a file that is no card, an edited one, one of a suite that is not known here, or cards that
            say the same of their suite and don't agree in it; names the files.
    """
    groups = group_cards(folder, read_cards(folder))
    drawings = [
        drawing for group in groups if (drawing := draw_front(group.cards, group.title, folder / "figures")) is not None
    ]
    content = Content(groups, [_board(number, group) for number, group in enumerate(groups, 1)], drawings)
    with replacing_file(folder / "table.csv") as temporary:
        encoders_table(groups).to_csv(temporary, index=False, float_format="%.6g")
    page = render_html("encoders.html.j2", content=content)
    table = environment().get_template("encoders.md.j2").render(content=content)
    for name, text in (("index.html", page), ("table.md", table)):
        with replacing_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return EncodersReport(folder, groups)


def group_cards(folder: Path, cards: Sequence[Card]) -> list[Group]:
    """Cards by suite and version, those of this package's suites first and the newest of each, ranked within.

    Raises:
        ConfigurationError: see :func:`write_encoders`; ``folder`` is where they were read from.
    """
    if not cards:
        raise ConfigurationError(f"{folder}: no score card is there. `recbole-ext score` makes them.")
    found: dict[tuple[str, int], list[Card]] = {}
    for card in cards:
        path = folder / card.file_name
        refuse_unknown(card.suite.name, card.suite.version, card.suite.sha256, str(path))
        others = found.setdefault((card.suite.name, card.suite.version), [])
        if others:
            _refuse_to_mix(path, card, folder / others[0].file_name, others[0])
        others.append(card)
    known = ["standard", "full", *suite_names()]
    order = sorted(found, key=lambda key: (known.index(key[0]) if key[0] in known else len(known), key[0], -key[1]))
    return [_ranked(found[key]) for key in order]


def encoders_table(groups: Sequence[Group]) -> pd.DataFrame:
    """A line for each card, by suite, the best first.

    Columns: ``suite``, ``version``, ``rank``, ``name``, ``kind``, ``vectors``; ``mean_rank`` over datasets and trained
    recommenders; ``mean_improvement_%`` over random vectors and for each dataset ``DATASET_improvement_%``, each with
    the ends of its 95 % interval; the metric of each recommender on each dataset, and for users whose item nobody took
    in training (``_unseen``); costs (``tuning_seconds``: of this package's tunings), and the
    figures of the vectors, means over the datasets. NaN: nobody knows.
    """
    lines = [_line(group, rank, card) for group in groups for rank, card in enumerate(group.cards, 1)]
    return pd.DataFrame(lines).astype({"encoder_parameters": "Int64"})


def place_in_words(card: Card, others: Sequence[Card]) -> str:
    """Its place among ``others``, cards of any suite; empty where there is none of its own."""
    alike = [one for one in others if one.suite == card.suite and one.data == card.data and one.name != card.name]
    if not alike:
        return ""
    group = _ranked([*alike, card])
    place = 1 + [one.name for one in group.cards].index(card.name)
    return f"place {place} of {len(group.cards)} among the published cards of the suite {card.suite}"


def _refuse_to_mix(path: Path, card: Card, other_path: Path, other: Card) -> None:
    both = f"{path} and {other_path}: both of the suite {card.suite}, but"
    if card.suite.sha256 != other.suite.sha256:
        raise ConfigurationError(
            f"{both} what it says differs: give a changed suite another version. Keep one of them."
        )
    if card.data != other.data:
        raise ConfigurationError(f"{both} of other data under the same names. Keep one of them.")
    columns = [{(score.dataset, score.model) for score in one.trained} for one in (card, other)]
    if columns[0] != columns[1] or card.metric != other.metric:
        raise ConfigurationError(f"{both} with other rows. Make both again with `recbole-ext score`.")


def _ranked(cards: Sequence[Card]) -> Group:
    ranks: dict[str, list[float]] = {card.name: [] for card in cards}
    for column in cards[0].trained:
        scores = {card.name: _of(card, column).score for card in cards}
        for name, score in scores.items():
            better = sum(other > score for other in scores.values())
            equal = sum(other == score for other in scores.values())
            ranks[name].append(better + (equal + 1) / 2)
    mean_rank = {name: sum(of) / len(of) for name, of in ranks.items()}
    ordered = sorted(cards, key=lambda card: (mean_rank[card.name], -card.gain.mean, card.name))
    return Group(ordered, mean_rank)


def _of(card: Card, column: Score) -> Score:
    return next(one for one in card.scores if (one.dataset, one.model) == (column.dataset, column.model))


def _line(group: Group, rank: int, card: Card) -> dict[str, Any]:
    line: dict[str, Any] = {
        "suite": card.suite.name,
        "version": card.suite.version,
        "rank": rank,
        "name": card.name,
        "kind": card.kind,
        "vectors": card.vectors,
        "mean_rank": group.mean_rank[card.name],
        **gain_columns(MEAN, card.gain),
    }
    for of in card.datasets:
        line |= gain_columns(of.dataset, of.gain)
    for score in card.scores:
        name = f"{score.dataset}_{score.model}_{card.metric}"
        line[name] = score.score
        line[f"{name}_unseen"] = score.unseen.score if score.unseen else math.nan
    line |= _costs(card) | _geometry(card)
    line["at_limit"] = sum(score.at_limit for score in card.scores)
    return line | {"date": card.date}


def _costs(card: Card) -> dict[str, float]:
    costs = [of.cost for of in card.datasets if of.cost is not None]
    known = [cost.parameters for cost in costs if cost.parameters is not None]
    return {
        "ms_per_item": math.nan if card.milliseconds_per_item is None else card.milliseconds_per_item,
        "encoder_parameters": max(known) if known else math.nan,
        "peak_memory_mb": max((cost.peak_memory_mb for cost in costs), default=math.nan),
        "tuning_seconds": math.nan if card.tuning_seconds is None else card.tuning_seconds,
    }


def _geometry(card: Card) -> dict[str, float]:
    found = [of.vectors for of in card.datasets if of.vectors is not None]
    names = ("width", "mean_cosine", "effective_rank", "first_axis", "hubness", "co_taken", "co_taken_by_chance")
    return {name: sum(getattr(one, name) for one in found) / len(found) if found else math.nan for name in names}


# --- the page's board ---

_COSTS = {
    "ms_per_item": ("ms / item", 3),
    "encoder_parameters": ("Parameters", 0),
    "peak_memory_mb": ("Peak memory (MB)", 0),
}
_FIGURES = {
    "width": ("Width", 0),
    "mean_cosine": ("Mean cosine", 3),
    "effective_rank": ("Effective rank", 1),
    "first_axis": ("First axis", 3),
    "hubness": ("Hubness", 2),
    "co_taken": ("Co-taken neighbours", 3),
    "co_taken_by_chance": ("Co-taken by chance", 3),
}


def _sheet(group: Group) -> Sheet:
    metric = group.cards[0].metric
    columns = [
        Column("rank", "#"),
        Column("name", "Vectors", numeric=False),
        Column("vectors", "Source", numeric=False),
    ]
    columns += [Column("mean_rank", "Mean rank"), Column(improvement_of(MEAN), "Gain", change=True)]
    columns += [Column(improvement_of(name), name, change=True) for name in group.datasets]
    columns.append(Column("neighbour", f"Neighbour {metric_title(metric)}"))
    columns += [Column(name, title) for name, (title, _) in _COSTS.items()]
    columns.append(Column("kind", "Kind", numeric=False))
    pairs = [(score.dataset, score.model) for score in group.columns]
    columns += [Column(f"{d}_{m}_{metric}", f"{d}, {m}") for d, m in pairs]
    columns += [Column(f"{d}_{m}_{metric}_unseen", f"{d}, {m}, unseen") for d, m in pairs]
    columns += [Column(name, title) for name, (title, _) in _FIGURES.items()]
    rows = [_row(group, rank, card) for rank, card in enumerate(group.cards, 1)]
    return _with_places(Sheet(columns, rows))


def _row(group: Group, rank: int, card: Card) -> Row:
    line = _line(group, rank, card)
    limited = f"{AT_LIMIT} {line['at_limit']} runs" if line["at_limit"] else ""
    cells = [
        number_cell(rank, 0),
        Cell(card.name, card.name, link=quote(card.file_name, safe="/+")),
        replace(text_cell(card.vectors), below=limited),
        number_cell(line["mean_rank"], 1),
        gain_cell(card.gain),
        *(gain_cell(next(of.gain for of in card.datasets if of.dataset == name)) for name in group.datasets),
        score_cell(_mean_neighbour(card)),
        *(number_cell(line[name], decimals) for name, (_, decimals) in _COSTS.items()),
        text_cell(card.kind),
        *(score_cell(_of(card, column).score) for column in group.columns),
        *(_unseen_cell(_of(card, column)) for column in group.columns),
        *(number_cell(line[name], decimals) for name, (_, decimals) in _FIGURES.items()),
    ]
    return Row(cells)


def _source_below(sheet: Sheet) -> Sheet:
    """The sheet with each card's source below its name, so that the costs are in sight on a laptop."""
    names = [column.name for column in sheet.columns]
    name, source = names.index("name"), names.index("vectors")
    rows = []
    for row in sheet.rows:
        cells, said = list(row.cells), row.cells[source]
        cells[name] = replace(cells[name], below="; ".join(filter(None, [said.text, said.below])))
        rows.append(replace(row, cells=cells))
    return Sheet(sheet.columns, rows).without("vectors")


def _board(number: int, group: Group) -> Board:
    sheet = _source_below(_sheet(group))
    glance = {column.name for column in _glance(sheet).columns}
    changing = [column for column in sheet.columns if column.change]
    scale = Scale.of_changes(sheet, changing)
    return Board(
        f"board-{number}",
        f"Suite {group.title}",
        sheet,
        {"suite": group.title},
        {column.name: scale for column in changing},
        frozenset(column.name for column in sheet.columns if column.name not in glance),
        KEYS,
        "name",
    )


def _glance(sheet: Sheet) -> Sheet:
    names = [column.name for column in sheet.columns]
    return sheet.without(*names[names.index("peak_memory_mb") + 1 :])


def _with_places(sheet: Sheet) -> Sheet:
    """The best and the second best of each gain."""
    if len(sheet.rows) < 2:
        return sheet
    rows = [list(row.cells) for row in sheet.rows]
    for position, column in enumerate(sheet.columns):
        if not column.change:
            continue
        values = sorted({round(v, 1) for row in rows if isinstance(v := row[position].value, float)}, reverse=True)
        for row in rows:
            value = row[position].value
            place = 1 + values.index(round(value, 1)) if isinstance(value, float) else 0
            row[position] = replace(row[position], place=place if place <= 2 else 0)
    return Sheet(sheet.columns, [Row(cells) for cells in rows])


def _unseen_cell(score: Score) -> Cell:
    return score_cell(score.unseen.score if score.unseen else None)


def _mean_neighbour(card: Card) -> float | None:
    found = [score.score for score in card.scores if score.model == NEIGHBOUR]
    return sum(found) / len(found) if found else None
