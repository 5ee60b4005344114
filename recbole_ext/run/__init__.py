"""A grid of runs: which there are, one of them, and all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recbole_ext.run.benchmark import Benchmark, Initialisation
from recbole_ext.run.benchmark_file import EMBEDDED, load_benchmark

if TYPE_CHECKING:
    from recbole_ext.run.spec import RunSpec

__all__ = ["EMBEDDED", "Benchmark", "Initialisation", "load_benchmark", "run_benchmark", "run_once"]


def run_benchmark(benchmark: Benchmark, command: str) -> Any:
    """Make the stores, run what is missing of the grid, report. See :func:`recbole_ext.run.grid.run_benchmark`."""
    from recbole_ext.run.grid import run_benchmark

    return run_benchmark(benchmark, command)


def run_once(spec: RunSpec) -> dict[str, Any]:
    """One run, from atomic files to its record. See :func:`recbole_ext.run.single.run_once`."""
    from recbole_ext.run.single import run_once

    return run_once(spec)
