"""All runs of a benchmark: stores first, then the search, then the other seeds of what the search chose."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from recbole_ext.benchmark.resolved import Resolved, ResolvedRow
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.errors import ConfigurationError
from recbole_ext.machine import shared, without_home
from recbole_ext.records import Grid, Row, RunRecord
from recbole_ext.runs.executors import Executor, executor_of
from recbole_ext.runs.gpus import require_gpu_for_each_process
from recbole_ext.runs.progress import read_progress
from recbole_ext.runs.recording import RunDied, forget_progress, is_done, read_record, record_death
from recbole_ext.runs.stores import check_stores, make_stores
from recbole_ext.wording import some

log = logging.getLogger(__name__)

TELLING = 1.0
"""Seconds between two looks at how far the runs are."""
LOGGING = 60.0
"""Seconds between two lines about it, where there is no terminal to show a bar."""


def run_benchmark(resolved: Resolved) -> list[RunSpec]:
    """Make the stores, run what is missing of the grid, and write ``grid.json``; returns the runs that failed.

    A run whose record is there and was made from the same settings, dataset and vectors is not run again, and a store
    that only such runs have started from is not made again.

    Raises:
        ConfigurationError: something that the benchmark needs is not on this machine.
        RecboleExtError: a store can't be made, or does not fit the runs that are to start from it.
    """
    if resolved.missing:
        raise ConfigurationError("not on this machine:\n" + "\n".join(f"  - {line}" for line in resolved.missing))
    benchmark = resolved.benchmark
    if benchmark.executor == "local":
        require_gpu_for_each_process(resolved.specs())
    folder = benchmark.folder
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    for sentence in resolved.notices:
        log.info("%s", sentence)
    left = [spec for row in resolved.rows for spec in runs_left(row)]
    make_stores(resolved, left)
    check_stores(resolved, left)
    write_grid(resolved)
    with executor_of(benchmark) as executor:
        search = list({spec.name: spec for row in resolved.rows for spec in row.searched}.values())
        # Runs that export a store come first, for they take longest; those that start from it wait for it.
        search.sort(key=lambda spec: spec.exports is None)
        made_here = {spec.exports for spec in search if spec.exports}
        doing = "searching" if any(len(row.trials) > 1 for row in resolved.rows) else "running"
        failed = run_all([spec for spec in search if spec.store not in made_here], executor, doing)
        failed += run_all([spec for spec in search if spec.store in made_here], executor, doing)
        rest = [spec for row in resolved.rows if (t := chosen_trial(row)) is not None for spec in row.trials[t][1:]]
        failed += run_all(rest, executor, "running")
    write_grid(resolved)
    return failed


def runs_left(row: ResolvedRow) -> list[RunSpec]:
    """The runs of the row that may still be run: as long as its search is not done, those of every trial."""
    chosen = chosen_trial(row) if all(map(is_done, row.searched)) else None
    trials = row.trials if chosen is None else (row.trials[chosen],)
    return [spec for runs in trials for spec in runs if not is_done(spec)]


def write_grid(resolved: Resolved) -> None:
    """Write :func:`grid_of` to ``grid.json``."""
    grid_of(resolved).write(resolved.benchmark.folder)


def rows_left_out(resolved: Resolved) -> list[str]:
    """A sentence about the rows that the folder's last report has and this benchmark no longer asks for."""
    try:
        before = Grid.read(resolved.benchmark.folder)
    except ConfigurationError:
        return []
    asked = {row.key for row in resolved.rows}
    gone = [str(row.key) for row in before.rows if row.key not in asked]
    if not gone:
        return []
    return [
        f"{len(gone)} of the {len(before.rows)} rows of the report in {resolved.benchmark.folder} are not asked for "
        f"now, and the new one is without them: {some(gone, 3)}. Their runs stay; asked for again, the rows come back."
    ]


def grid_of(resolved: Resolved) -> Grid:
    """What was asked for, with the runs that answer it as far as they are known."""
    benchmark = resolved.benchmark
    searches = dict.fromkeys(words for row in resolved.rows if (words := row.search.in_words()))
    return Grid(
        benchmark=benchmark.name,
        command=without_home(resolved.command),
        note=without_home(benchmark.note.strip()),
        metric=str(resolved.rows[0].effective["valid_metric"]).lower(),
        search="; ".join(searches),
        rows=[_grid_row(row) for row in resolved.rows],
        published=benchmark.published,
        content=shared(
            benchmark.model_dump(mode="json", exclude_unset=True)
            | ({"--": resolved.overrides} if resolved.overrides else {})
        ),
    )


def _grid_row(row: ResolvedRow) -> Row:
    chosen = chosen_trial(row)
    return Row(
        **row.key._asdict(),
        mode=row.mode,
        vectors=without_home(row.variant.in_words()),
        baseline=row.baseline,
        config=shared(row.variant.config),
        trials=[spec.name for spec in row.searched],
        chosen=chosen,
        runs=[spec.name for spec in row.trials[chosen]] if chosen is not None else [],
    )


def chosen_trial(row: ResolvedRow) -> int | None:
    """The trial with the best validation; ``None`` where no run of the search has finished with one.

    Of equal ones the first. A validation that is no number, or infinite, is never the best.

    Raises:
        ConfigurationError: nobody was validated, so that nothing can choose.
    """
    if len(row.trials) == 1:
        return 0 if is_done(row.searched[0]) else None
    merits: dict[int, float] = {}
    for trial, spec in enumerate(row.searched):
        record = read_record(spec)
        if record is None or record.status != "done":
            continue
        if record.done.merit is None:
            raise ConfigurationError(
                f"{record.run}: nobody was validated, so that no trial of the search can be chosen (a sequential model "
                "validates users with four interactions or more). Leave the search out, or take data with longer "
                "histories."
            )
        if math.isfinite(record.done.merit):
            merits[trial] = record.done.merit
    return max(merits, key=merits.__getitem__, default=None)


def run_all(specs: Iterable[RunSpec], executor: Executor, what: str) -> list[RunSpec]:
    """Run those of ``specs`` that have no valid record; returns those that failed.

    What another call on the same results is running is left to it and waited for, after all else is done.
    """
    missing = [spec for spec in specs if not is_done(spec)]
    for spec in missing:
        forget_progress(spec)
    failed: list[RunSpec] = []
    with (
        logging_redirect_tqdm(),
        tqdm(total=len(missing), desc=what, unit="run", disable=None if missing else True, dynamic_ncols=True) as bar,
    ):
        waiting, told_at = False, time.monotonic()
        try:
            while missing:
                started = {executor.submit(spec, waiting): spec for spec in missing}
                missing, waiting = [], True
                open_futures = set(started)
                while open_futures:
                    finished, open_futures = wait(open_futures, timeout=TELLING, return_when=FIRST_COMPLETED)
                    told_at = _tell(bar, [started[future] for future in open_futures], told_at)
                    for future in finished:
                        spec = started[future]
                        record = _record_of(spec, future)
                        if record is None:
                            missing.append(spec)
                            continue
                        bar.update()
                        if is_done(spec):
                            _log_end(record)
                            continue
                        failed.append(spec)
                        if record.status == "failed":
                            log.error("%s failed: %s", record.run, record.error)
        except KeyboardInterrupt:
            executor.stop()
            raise
    return failed


def _tell(bar: tqdm[None], running: Sequence[RunSpec], told_at: float) -> float:
    """The runs under way, and how far they are: behind the bar, or from time to time in the log.

    Takes and returns when the log was told last.
    """
    known = [(spec, progress) for spec in running if (progress := read_progress(spec.progress_path))]
    if not bar.disable:
        several = len(known) > 1
        told = [
            f"{spec.model} {spec.variant} s{spec.seed}: {progress.in_short() if several else progress.in_words()}"
            for spec, progress in known
        ]
        bar.set_postfix_str(" | ".join(told))
    elif known and time.monotonic() - told_at >= LOGGING:
        log.info(
            "%s",
            " | ".join(
                f"{spec.dataset} {spec.model} {spec.variant} s{spec.seed}: {progress.in_words()}"
                for spec, progress in known
            ),
        )
        return time.monotonic()
    return told_at


def _log_end(record: RunRecord) -> None:
    """Validation alone: who watches a search must not see its test results."""
    made = record.done
    valid = "nothing validated" if made.score is None else f"validation {made.valid_metric} {made.score:.4f}"
    how = "" if made.stopped_early or made.epoch_limit <= 1 else ", ended by the epoch limit"
    log.info("%s: %s, best of %d epochs is %d%s", record.run, valid, len(made.curve), made.best_epoch + 1, how)


def _record_of(spec: RunSpec, finished: Future[bool]) -> RunRecord | None:
    """What became of a run that was submitted; ``None`` where another call is on it."""
    try:
        if not finished.result():
            return None
        if read_record(spec) is None:
            raise RunDied(f"it ended without {spec.record_path}: results and datasets must be on a shared file system")
    except Exception as error:  # whatever a process, or a cluster, can die of
        if not record_death(spec, error):
            return None
    return read_record(spec)
