"""The page's tables: one board per dataset and protocol, drawn numbers, and the run records behind each row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recbole_ext.records import RowKey, RunRecord
from recbole_ext.report.cells import NOTHING, TITLES, Cell, Column, Row, Sheet
from recbole_ext.report.leaderboard import KEYS
from recbole_ext.report.results import Result


@dataclass(frozen=True)
class Scale:
    """Places on a strip under a number, in percent of its width: ``low`` at 0, ``high`` at 100."""

    low: float
    high: float

    @classmethod
    def over(cls, cells: Iterable[Cell], *values: float) -> Scale:
        """A scale on which all these cells have room, their deviations included, and these values too."""
        ends = list(values)
        for cell in cells:
            if isinstance(cell.value, float):
                ends += [cell.value - (cell.deviation or 0.0), cell.value + (cell.deviation or 0.0)]
        return cls(min(ends, default=0.0), max(ends, default=0.0))

    @classmethod
    def of_changes(cls, sheet: Sheet, columns: Iterable[Column]) -> Scale:
        """One for the tested changes in these columns, and for zero."""
        return cls.over((cell for column in columns for cell in sheet.cells(column) if cell.spread), 0.0)

    def place(self, value: float) -> float:
        reach = self.high - self.low
        return round(100 * (value - self.low) / reach, 2) if reach else 50.0


@dataclass(frozen=True)
class Board:
    """A sheet on the page. ``shared``: what its title says of all its rows, and its columns therefore don't.

    ``scales``: of the columns whose numbers are drawn; ``extra``: columns to show on request; ``keys``: what the page
    filters rows by; ``naming``: the key that names a row, where it has it.
    """

    id: str
    title: str
    sheet: Sheet
    shared: dict[str, str] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    extra: frozenset[str] = frozenset()
    keys: tuple[str, ...] = KEYS
    naming: str = "model"

    def group_of(self, row: Row) -> dict[str, str]:
        """What the page filters a row by: those of its keys that it has."""
        named = {c.name: cell.text for c, cell in zip(self.sheet.columns, row.cells, strict=True)} | self.shared
        return {key: named[key] for key in self.keys if key in named}

    @property
    def head(self) -> Column:
        """The column that names a row, or else the first one."""
        return next((column for column in self.sheet.columns if column.name == self.naming), self.sheet.columns[0])

    def classes(self, column: Column) -> str:
        """What the page's styles and script know a column by: number, extra, key, rank.

        A key column has no place on a narrow screen: it stands beside the row's name, or in the number of its runs.
        """
        kinds = {
            "number": column.numeric,
            "key": column.name in (*self.keys, "n_seeds") and column != self.head,
            "rank": column.name == "rank",
            "change": column.change,
            "extra": column.name in self.extra,
        }
        return " ".join(kind for kind, applies in kinds.items() if applies)

    def beside(self, row: Row) -> str:
        """The key columns' texts in one, for screens that are too narrow for columns of their own."""
        cells = zip(self.sheet.columns, row.cells, strict=True)
        return ", ".join(
            cell.text
            for column, cell in cells
            if column.name in self.keys and column != self.head and cell.text != NOTHING
        )

    def remark(self, row: Row) -> Cell | None:
        """The cell of the row that has a remark, for screens that are too narrow for its column."""
        return next((cell for cell in row.cells if cell.remark), None)

    def strip(self, column: Column, cell: Cell) -> dict[str, float]:
        """CSS lengths of the drawing under a number, in percent: a whisker or a bar from zero; {} for none.

        A change that was not tested has no bar, which would look like one that was.
        """
        scale = self.scales.get(column.name)
        if scale is None or not isinstance(cell.value, float) or (column.change and not cell.spread):
            return {}
        if column.change:
            start, end = sorted((scale.place(0.0), scale.place(cell.value)))
            return {"zero": scale.place(0.0), "start": start, "end": end}
        deviation = cell.deviation or 0.0
        return {
            "start": scale.place(cell.value - deviation),
            "mean": scale.place(cell.value),
            "end": scale.place(cell.value + deviation),
        }


@dataclass(frozen=True)
class RunList:
    """The run records that a row's numbers came from, and those of the baseline that it is compared with."""

    id: str
    title: str
    records: list[RunRecord]
    compared: list[RunRecord]

    @property
    def is_one(self) -> bool:
        """Whether it is a single record, to which a number can lead directly."""
        return len(self.records) == 1 and not self.compared


def leaderboards(sheet: Sheet, at_a_glance: Sheet) -> list[Board]:
    """A board for each dataset and protocol; columns that ``at_a_glance`` lacks are extra, and not drawn.

    Means lie on a scale of their column and board, within which alone they compare; all changes lie on one.
    """
    glance = {column.name for column in at_a_glance.columns}
    extra = frozenset(column.name for column in sheet.columns if column.name not in glance)
    drawn = [column for column in sheet.columns if column.name in glance]
    changing = [column for column in drawn if column.change]
    change = Scale.of_changes(sheet, changing)
    boards = []
    for number, ((dataset, protocol), part) in enumerate(sheet.split("dataset", "protocol").items(), 1):
        scales = {column.name: change for column in changing}
        scales |= {column.name: Scale.over(part.cells(column)) for column in drawn if column.spread}
        shared = {"dataset": dataset, "protocol": protocol}
        boards.append(Board(f"board-{number}", board_title(dataset, protocol), part, shared, scales, extra))
    return boards


def lean_board(id: str, title: str, sheet: Sheet) -> Board:
    """A board without the columns of dataset and protocol where all rows have the same; its title says it instead."""
    shared = {}
    for column in sheet.columns:
        texts = {cell.text for cell in sheet.cells(column)}
        if column.name.lower() in ("dataset", "protocol") and len(texts) == 1:
            shared[column.name] = texts.pop()
    said = f" ({', '.join(shared.values())})" if shared else ""
    return Board(id, title.rstrip(".") + said, sheet.without(*shared), {k.lower(): v for k, v in shared.items()})


def remarks_below(sheet: Sheet) -> Sheet:
    """The sheet with each row's remark below its variant, where it needs no column of its own."""
    names = [column.name for column in sheet.columns]
    if "remarks" not in names:
        return sheet
    at, variant = names.index("remarks"), names.index("variant")
    rows = []
    for row in sheet.rows:
        remark, cells = row.cells[at], list(row.cells)
        if remark.value is not None:
            cells[variant] = replace(cells[variant], remark=remark.text, link=remark.link)
        rows.append(replace(row, cells=cells))
    return Sheet(sheet.columns, rows).without("remarks")


def board_title(dataset: str, protocol: str) -> str:
    is_ranking = re.fullmatch(r"full|(uni|pop)\d+", protocol)
    return f"{dataset}, {protocol} ranking" if is_ranking else f"{dataset}, protocol {protocol}"


def filter_choices(boards: Sequence[Board]) -> dict[str, list[str]]:
    """By the title of each key with more than one value in the boards: its values in their order."""
    groups = [board.group_of(row) for board in boards for row in board.sheet.rows]
    keys = dict.fromkeys(key for board in boards for key in board.keys)
    choices = {key: list(dict.fromkeys(group[key] for group in groups if group.get(key))) for key in keys}
    return {key: values for key, values in choices.items() if len(values) > 1}


def filter_title(key: str) -> str:
    return TITLES[key]


def run_lists(
    boards: Iterable[Board], results: Mapping[RowKey, Result], baselines: Mapping[RowKey, Result]
) -> dict[tuple[str, ...], RunList]:
    """The run lists of all rows that have records, by the records' names; rows of the same records share one."""
    lists: dict[tuple[str, ...], RunList] = {}
    for records in (row.runs for board in boards for row in board.sheet.rows if row.runs):
        names = run_names(records)
        if names not in lists:
            title, compared = _described(records, results, baselines)
            lists[names] = RunList(f"runs-{len(lists) + 1}", title, records, compared)
    return lists


def run_names(records: Iterable[RunRecord]) -> tuple[str, ...]:
    return tuple(record.run for record in records)


def _described(
    records: Sequence[RunRecord], results: Mapping[RowKey, Result], baselines: Mapping[RowKey, Result]
) -> tuple[str, list[RunRecord]]:
    keys = {record.row for record in records}
    if len(keys) > 1:
        return "Runs on " + ", ".join(sorted({key.dataset for key in keys})), []
    key = keys.pop()
    title = f"{key.model}, {key.variant} on {board_title(key.dataset, key.protocol)}"
    whole = key in results and run_names(records) == run_names(results[key].runs)
    return title, baselines[key].runs if whole and key in baselines else []
