"""The verbs from Python: the same calls that the command line makes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.benchmark import EMBEDDED, Resolved, benchmark_of, find_benchmark, load_benchmark, resolve
from recbole_ext.benchmark.plan import plan_lines, what_will_be_done
from recbole_ext.run.grid import run_benchmark
from recbole_ext.run.recording import is_done

if TYPE_CHECKING:
    from recbole_ext.report import LeaderboardReport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`run` left: the report, its folder, and the names of the runs that failed."""

    folder: Path
    report: LeaderboardReport
    failed: list[str]


def run(
    benchmark: Path | str | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    command: str | None = None,
) -> Outcome:
    """Run what is missing of a benchmark, and report.

    Args:
        benchmark: a YAML, a preset's name, or what a YAML would say; ``None``: the embedded benchmark on ml-100k.
        overrides: keys of the benchmark, of RecBole or of the hook that go above all that it says.
        command: what makes the table again, as the report says it; by default this call.

    Raises:
        RecboleExtError: the benchmark can't be run; its message names the key or the file and the way out.
    """
    from recbole_ext.report import write_report

    resolved = _resolved(benchmark, overrides, command, fetch=True)
    for line in what_will_be_done(resolved, is_done):
        log.info("%s", line)
    failed = run_benchmark(resolved)
    folder = resolved.benchmark.folder
    return Outcome(folder, write_report(folder), [spec.name for spec in failed])


def plan(
    benchmark: Path | str | Mapping[str, Any] | None = None, overrides: Mapping[str, Any] | None = None
) -> list[str]:
    """What :func:`run` would do with the same arguments: steps, time, memory, and what is missing here; runs nothing.

    Raises:
        RecboleExtError: the benchmark can't be right.
    """
    return plan_lines(_resolved(benchmark, overrides, None, fetch=False), is_done)


def _resolved(
    benchmark: Path | str | Mapping[str, Any] | None,
    overrides: Mapping[str, Any] | None,
    command: str | None,
    fetch: bool,
) -> Resolved:
    given = dict(overrides or {})
    if isinstance(benchmark, Mapping):
        where, (checked, keys) = "benchmark", benchmark_of(benchmark, given, "benchmark")
    else:
        path = find_benchmark(Path(benchmark)) if benchmark else EMBEDDED
        where, (checked, keys) = path.name, load_benchmark(path, given)
    return resolve(checked, keys, command or f"recbole_ext.run({where!r}), {Path(sys.argv[0]).name}", where, fetch)
