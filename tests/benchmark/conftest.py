"""Benchmarks on the made-up dataset ``tiny``, resolved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved, load_benchmark, parse_overrides, resolve


@pytest.fixture
def resolved(described: Callable[..., Path], tmp_path: Path) -> Callable[..., Resolved]:
    """``resolved(*overrides, fetch=True, **keys)``: the benchmark of a file with these keys, resolved."""

    def resolved(*overrides: str, fetch: bool = True, **keys: Any) -> Resolved:
        path = described(tmp_path, **keys)
        benchmark, recboles = load_benchmark(path, parse_overrides(list(overrides)))
        return resolve(benchmark, recboles, "the command", path.name, fetch)

    return resolved


@pytest.fixture
def store(store_of: Callable[..., Path], tmp_path: Path) -> Path:
    """Vectors of all of its items."""
    return store_of([f"i{item}" for item in range(60)], tmp_path / "vectors")
