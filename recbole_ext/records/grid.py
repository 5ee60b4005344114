"""The rows that a benchmark asked for and the runs that each stands on: ``grid.json`` beside the run records.

A report is made of these rows and of nothing else that lies in the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.record import RowKey, RunRecord, Settings
from recbole_ext.writing import write_json

GRID = "grid.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Published(_Part):
    """A number that others, or this project, published for the same data and protocol."""

    dataset: str
    model: str
    variant: str | None = None
    """The row that it stands beside; a row of its own where nothing is named."""
    protocol: str
    metrics: dict[str, float]
    """By RecBole's names, such as ``ndcg@10``."""
    source: str
    """Where it was published, with a link."""


class Row(_Part):
    """One row of the leaderboard: its search, and the runs of the trial that validation chose."""

    dataset: str
    model: str
    variant: str
    protocol: str
    mode: str
    vectors: str
    """The vectors' source in words, such as ``encoder minilm``; ``random`` where nothing is attached."""
    baseline: str | None = None
    """The variant that it is compared with (same dataset, model and protocol); ``None``: it is nobody's rival."""
    trials: list[str]
    """Run names of the search, on its seed, in the order of trials; one where nothing is searched."""
    chosen: int | None = None
    """Which of ``trials`` validation chose; ``None`` until one has finished."""
    runs: list[str]
    """Run names of the chosen trial, one per seed, the search's own among them."""

    @property
    def key(self) -> RowKey:
        return RowKey(self.dataset, self.model, self.variant, self.protocol)


class Grid(_Part):
    """What a benchmark asked for, with the names of the runs that answer it."""

    format: int = 2
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

    def write(self, folder: Path) -> None:
        write_json(folder / GRID, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Grid:
        """Read ``folder``/grid.json.

        Raises:
            ConfigurationError: there is none, or it is damaged; names the key.
        """
        path = folder / GRID
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ConfigurationError(
                f"{path}: no such file. `report` wants the folder of one benchmark, such as runs/NAME, which "
                "`recbole-ext run BENCHMARK.yaml` writes."
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(
                f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}. Run the benchmark again; finished runs "
                "are kept."
            ) from error


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


def history(folder: Path, grid: Grid) -> list[str]:
    """Names of the records in ``folder`` that the benchmark did not ask for: earlier settings, in order."""
    asked: set[Any] = {run for row in grid.rows for run in (*row.trials, *row.runs)}
    return [path.stem for path in sorted((folder / "runs").glob("*.json")) if path.stem not in asked]
