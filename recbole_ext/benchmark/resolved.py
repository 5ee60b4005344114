"""What the resolver makes of a benchmark: rows, their runs, and what has to be made before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recbole_ext.benchmark.beginnings import EncoderToTune, StoreToMake
from recbole_ext.benchmark.search import Search
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.benchmark.variant import Variant
from recbole_ext.data.dataset import Dataset
from recbole_ext.records import RowKey

Settings = dict[str, Any]


@dataclass(frozen=True)
class ResolvedRow:
    """A row of the leaderboard to be: the runs of its search and of all seeds.

    Attributes:
        trials: ``trials[t][i]`` is the run of the search's point ``t`` with seed ``i``; seed 0 searches.
        effective: the whole RecBole configuration of its first trial, RecBole's defaults included.
    """

    key: RowKey
    variant: Variant
    mode: str
    baseline: str | None
    search: Search
    trials: tuple[tuple[RunSpec, ...], ...]
    effective: Mapping[str, Any]

    @property
    def searched(self) -> list[RunSpec]:
        """The runs of the search."""
        return [runs[0] for runs in self.trials]


@dataclass(frozen=True)
class Resolved:
    """All that a benchmark asks for. Nothing of it is read from disk again while it runs.

    Attributes:
        missing: what is not on this machine and how to get it, a line each; nothing is run before it is there.
        notices: what the datasets' checks found worth saying.
    """

    benchmark: Benchmark
    overrides: Settings
    command: str
    datasets: Mapping[str, Dataset]
    rows: tuple[ResolvedRow, ...]
    stores: tuple[StoreToMake, ...]
    encoders: tuple[EncoderToTune, ...]
    missing: tuple[str, ...]
    notices: tuple[str, ...]

    def specs(self) -> Iterator[RunSpec]:
        """Every run that may be run, in reading order."""
        for row in self.rows:
            for runs in row.trials:
                yield from runs
