"""The middle of the house: a benchmark's YAML in, immutable specifications of runs out."""

from __future__ import annotations

from recbole_ext.benchmark.file import (
    EMBEDDED,
    PRESETS,
    benchmark_of,
    find_benchmark,
    load_benchmark,
    with_included,
)
from recbole_ext.benchmark.overrides import parse_overrides
from recbole_ext.benchmark.resolved import Resolved, ResolvedRow
from recbole_ext.benchmark.resolver import resolve
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.spec import RunSpec

__all__ = [
    "EMBEDDED",
    "PRESETS",
    "Benchmark",
    "Resolved",
    "ResolvedRow",
    "RunSpec",
    "benchmark_of",
    "find_benchmark",
    "load_benchmark",
    "parse_overrides",
    "resolve",
    "with_included",
]
