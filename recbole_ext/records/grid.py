"""The rows that a benchmark asked for and the runs that each stands on: ``grid.json`` beside the run records.

A report is made of these rows and of nothing else that lies in the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from pydantic import model_validator

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.document import Document, Part, Settings, read_document
from recbole_ext.records.record import RowKey, RunRecord

GRID = "grid.json"
RANDOM = "random"
OUTSIDE = "lists from outside"
"""In the place of a row's vectors: of another system's nothing is known."""
CONTROLS = ("shuffled", "gaussian")
"""Kinds of vector sources that keep the spectrum of others and know nothing of the items: no gain is expected."""
LISTS = "lists"
"""The variant of an outside system's rows."""


class Published(Part):
    """A number that others, or this project, published for the same data and protocol."""

    dataset: str
    """On which."""
    model: str
    """A model of the benchmark, or what to call another."""
    variant: str | None = None
    """The row that it stands beside; a row of its own where nothing is named."""
    protocol: str
    """One of the benchmark's."""
    metrics: dict[str, float]
    """By RecBole's names, such as ``ndcg@10``; or a gain over a baseline, ``ndcg@10_improvement_%``, in per cent."""
    source: str
    """Where it was published, with a link."""
    made: str = ""
    """Of a run of this project's own: its date, as its record has it. The number says what to expect, and is left out
    where it would stand beside that very run."""


class Row(Part):
    """One row of the leaderboard: its search, and the runs of the trial that validation chose."""

    dataset: str
    model: str
    variant: str
    protocol: str
    mode: str
    vectors: str
    """The vectors' source in words, such as ``encoder minilm``; :data:`RANDOM` where nothing is attached."""
    baseline: str | None = None
    """The variant that it is compared with (same dataset, model and protocol); ``None``: it is nobody's rival."""
    config: Settings = {}
    """What its entry of ``initialisations:`` sets for its runs, beside the vectors."""
    trials: list[str]
    """Run names of the search, on its seed, in the order of trials; one where nothing is searched."""
    chosen: int | None = None
    """Which of ``trials`` validation chose; ``None`` until one has finished."""
    runs: list[str]
    """Run names of the chosen trial, one per seed, the search's own among them."""

    @property
    def key(self) -> RowKey:
        return RowKey(self.dataset, self.model, self.variant, self.protocol)

    @property
    def kind(self) -> str:
        """Of its vectors' source, such as ``encoder``."""
        return kind_of(self.vectors)

    @property
    def is_random(self) -> bool:
        """Whether it begins from the model's own random vectors."""
        return self.vectors == RANDOM

    @model_validator(mode="after")
    def _chosen_among_its_own(self) -> Row:
        if self.chosen is None:
            return self
        if not 0 <= self.chosen < len(self.trials):
            raise ValueError(f"{self.key}: chosen {self.chosen} is none of its {len(self.trials)} trials")
        if self.trials[self.chosen] not in self.runs:
            raise ValueError(f"{self.key}: the chosen trial's run {self.trials[self.chosen]} is not among its runs")
        return self


class Grid(Document):
    """What a benchmark asked for, with the names of the runs that answer it."""

    benchmark: str
    command: str
    """Makes the table again."""
    note: str = ""
    """Printed with the leaderboard."""
    metric: str
    """What validation goes by and rows are ranked by, such as ``ndcg@10``."""
    search: str = ""
    """The search in words: space, sampler, number of trials for every variant alike."""
    rows: list[Row]
    published: list[Published] = []
    content: Settings = {}
    """The benchmark's YAML with everything that the command line set."""

    @model_validator(mode="after")
    def _rows_differ(self) -> Grid:
        keys = [row.key for row in self.rows]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"two rows are called {key}")
        return self

    def write(self, folder: Path) -> None:
        """Write ``folder``/grid.json, whole or not at all."""
        self.write_to(folder / GRID)

    @classmethod
    def read(cls, folder: Path) -> Grid:
        """Read ``folder``/grid.json.

        Raises:
            ConfigurationError: there is none, or it is damaged; names the key.
        """
        path = folder / GRID
        try:
            return read_document(cls, path, "Run the benchmark again; finished runs are kept.")
        except FileNotFoundError:
            raise ConfigurationError(f"{path}: no such file. {_where_grids_are(folder)}") from None


def _where_grids_are(folder: Path) -> str:
    wanted = "Wanted is the folder of one benchmark, such as runs/NAME, which `recbole-ext run` writes"
    if (folder.parent / GRID).is_file():
        return f"{wanted}: here {folder.parent}, one up."
    below = sorted(path.parent.name for path in folder.glob(f"*/{GRID}"))
    return f"{wanted}: here one of {', '.join(below)} below it." if below else f"{wanted}."


def kind_of(vectors: str) -> str:
    """The kind of a source, from its words: ``encoder`` of ``encoder minilm``."""
    first, _, _ = vectors.partition(" ")
    return "finetune" if first == "fine-tuned" else first


def is_control(vectors: str) -> bool:
    """Whether vectors that are described so are a control."""
    return kind_of(vectors) in CONTROLS


def record_path(folder: Path, run: str) -> Path:
    """Where the record of a run lies below the benchmark's ``folder``."""
    return folder / "runs" / f"{run}.json"


def read_records(folder: Path, runs: list[str]) -> dict[str, RunRecord]:
    """The records of these runs, by name; runs without a record are left out.

    Raises:
        ConfigurationError: a damaged record.
    """
    paths = {run: record_path(folder, run) for run in runs}
    return {run: RunRecord.read(path) for run, path in paths.items() if path.is_file()}


class Earlier(NamedTuple):
    """A record in the folder that the benchmark did not ask for."""

    run: str
    date: str
    """As recorded; empty where the file does not say."""


def history(folder: Path, grid: Grid) -> list[Earlier]:
    """The records in ``folder`` that the grid did not ask for, by name, whatever their format: earlier settings."""
    asked = {run for row in grid.rows for run in (*row.trials, *row.runs)}
    paths = [path for path in sorted((folder / "runs").glob("[!.]*.json")) if path.stem not in asked]
    return [Earlier(path.stem, _date_of(path)) for path in paths]


def _date_of(path: Path) -> str:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return ""
    return str(content.get("date") or "") if isinstance(content, dict) else ""
