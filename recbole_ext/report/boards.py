"""The page's tables: one board per dataset and protocol, drawn numbers, and the run records behind each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from recbole_ext.report.cells import Cell, Column, Row, Sheet
from recbole_ext.report.records import GROUP_KEYS, Group, Record, group_of


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

    def place(self, value: float) -> float:
        reach = self.high - self.low
        return round(100 * (value - self.low) / reach, 2) if reach else 50.0


@dataclass(frozen=True)
class Board:
    """A sheet on the page. ``shared``: what its title says of all its rows, and its columns therefore don't."""

    id: str
    title: str
    sheet: Sheet
    shared: dict[str, str] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    extra: frozenset[str] = frozenset()  # columns to show on request

    def group_of(self, row: Row) -> dict[str, str]:
        """What the page filters a row by: those of dataset, model, init, mode, protocol that it has."""
        named = {c.name: cell.text for c, cell in zip(self.sheet.columns, row.cells, strict=True)} | self.shared
        return {key: named[key] for key in GROUP_KEYS if key in named}

    def classes(self, column: Column) -> str:
        """What the page's styles and script know a column by: number, extra, key.

        A key column has no place on a narrow screen: it stands beside the row's name, or in the number of its runs.
        """
        first = column is self.sheet.columns[0]
        kinds = {
            "number": column.numeric,
            "key": column.name in (*GROUP_KEYS, "n_seeds") and not first,
            "extra": column.name in self.extra,
        }
        return " ".join(kind for kind, applies in kinds.items() if applies)

    def beside(self, row: Row) -> str:
        """The key columns' texts in one, for screens that are too narrow for columns of their own."""
        cells = zip(self.sheet.columns[1:], row.cells[1:], strict=True)
        return ", ".join(cell.text for column, cell in cells if column.name in GROUP_KEYS and cell.text not in "-–")

    def strip(self, column: Column, cell: Cell) -> dict[str, float]:
        """CSS lengths of the drawing under a number, in percent: a whisker or a bar from zero; {} for none."""
        scale = self.scales.get(column.name)
        if scale is None or not isinstance(cell.value, float):
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
    """The run records that a row's numbers came from, and those of ``none`` that it is compared with."""

    id: str
    title: str
    records: list[Record]
    compared: list[Record]


def leaderboards(sheet: Sheet, at_a_glance: Sheet) -> list[Board]:
    """A board for each dataset and protocol; columns that ``at_a_glance`` lacks are extra.

    Means lie on a scale of their column and board, within which alone they compare; all changes lie on one.
    """
    glance = {column.name for column in at_a_glance.columns}
    extra = frozenset(column.name for column in sheet.columns if column.name not in glance)
    changing = [column for column in sheet.columns if column.change]
    change = Scale.over((cell for column in changing for cell in sheet.cells(column)), 0.0)
    boards = []
    for number, ((dataset, protocol), part) in enumerate(sheet.split("dataset", "protocol").items(), 1):
        scales = {column.name: change for column in changing}
        scales |= {column.name: Scale.over(part.cells(column)) for column in part.columns if column.spread}
        shared = {"dataset": dataset, "protocol": protocol}
        boards.append(Board(f"board-{number}", f"{dataset}, {protocol} ranking", part, shared, scales, extra))
    return boards


def filter_choices(boards: Sequence[Board]) -> dict[str, list[str]]:
    """For each key with more than one value in the boards, its values in their order."""
    groups = [board.group_of(row) for board in boards for row in board.sheet.rows]
    choices = {key: list(dict.fromkeys(group[key] for group in groups if key in group)) for key in GROUP_KEYS}
    return {key: values for key, values in choices.items() if len(values) > 1}


def compares_with_none(column: Column) -> bool:
    """Whether the numbers of a column came from the runs with ``none`` too."""
    return column.change or column.name == "p_holm"


def run_lists(boards: Iterable[Board], runs: Mapping[Group, list[Record]]) -> dict[tuple[str, ...], RunList]:
    """The run lists of all rows that have records, by the records' names; rows of the same records share one."""
    lists: dict[tuple[str, ...], RunList] = {}
    for records in _records_of(boards):
        names = run_names(records)
        if names not in lists:
            title, compared = _described(records, runs)
            lists[names] = RunList(f"runs-{len(lists) + 1}", title, records, compared)
    return lists


def run_names(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(record["run"] for record in records)


def _records_of(boards: Iterable[Board]) -> Iterator[list[Record]]:
    for board in boards:
        yield from (row.runs for row in board.sheet.rows if row.runs)


def _described(records: Sequence[Record], runs: Mapping[Group, list[Record]]) -> tuple[str, list[Record]]:
    groups = {group_of(record) for record in records}
    if len(groups) > 1:
        return "Runs on " + ", ".join(sorted({dataset for dataset, *_ in groups})), []
    dataset, model, init, mode, protocol = groups.pop()
    title = f"{model}, {init}{'' if init == 'none' else f' ({mode})'} on {dataset}, {protocol} ranking"
    if init == "none":
        return title, []
    partners = [g for g in runs if (g[0], g[1], g[4]) == (dataset, model, protocol) and g[2] == "none"]
    return title, runs[partners[0]] if partners else []
