"""Benchmarks on the made-up dataset ``tiny``: resolved, and with something else in the place of their runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replaced_runs import Instead
from started_grids import CONFIG, SEARCH, finish, records_of, start, tables

from recbole_ext.benchmark import Resolved, RunSpec, load_benchmark, parse_overrides, resolve
from recbole_ext.runs import grid


@pytest.fixture(scope="session")
def resolve_file() -> Callable[..., Resolved]:
    """``resolve_file(path, *overrides)``: the benchmark of a file, resolved."""

    def resolve_file(path: Path, *overrides: str, command: str = "the command") -> Resolved:
        benchmark, recboles = load_benchmark(path, parse_overrides(list(overrides)))
        return resolve(benchmark, recboles, command, path.name)

    return resolve_file


@pytest.fixture
def resolved(
    described: Callable[..., Path], resolve_file: Callable[..., Resolved], tmp_path: Path
) -> Callable[..., Resolved]:
    """``resolved(*overrides, **keys)``: the benchmark of a file with these keys, resolved."""

    def resolved(*overrides: str, **keys: Any) -> Resolved:
        return resolve_file(described(tmp_path, **keys), *overrides)

    return resolved


@pytest.fixture
def recorded(
    resolved: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Resolved, list[RunSpec]]]:
    """``recorded(outcome, **keys)``: the benchmark and the runs that the grid made of it, in order.

    ``outcome(spec)`` says what a run's record holds; see :func:`replaced_runs.record_of`.
    """

    def recorded(outcome: Callable[[RunSpec], dict[str, Any]], **keys: Any) -> tuple[Resolved, list[RunSpec]]:
        executor = Instead(outcome)
        monkeypatch.setattr(grid, "executor_of", lambda benchmark: executor)
        found = resolved(**keys)
        grid.run_benchmark(found)
        return found, executor.ran

    return recorded


@pytest.fixture(scope="module")
def grid_of(described: Callable[..., Path], store_of: Callable[..., Path]) -> Callable[..., Path]:
    """``grid_of(folder)``: a benchmark file of two initialisations, two points each, two seeds."""

    def grid_of(folder: Path, **keys: Any) -> Path:
        store = store_of([f"i{item}" for item in range(60)], folder / "store")
        inits = {"random": {}, "vectors": {"store": str(store)}}
        whole = {"initialisations": inits, "search": SEARCH, "seeds": [1, 2], "config": CONFIG}
        return described(folder, **{**whole, **keys})

    return grid_of


@pytest.fixture(scope="module")
def undisturbed(grid_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("undisturbed")
    code, said = finish(start(grid_of(folder), "--parallel_runs=2"))
    assert code == 0, said
    return SimpleNamespace(folder=folder, table=tables(folder), runs={record.run for record in records_of(folder)})
