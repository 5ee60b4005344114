"""All runs of a benchmark: stores first, then the search, then the remaining seeds of what the search chose."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from recbole_ext.data.files import require_dataset
from recbole_ext.encode import encode
from recbole_ext.report import select_candidates, write_report
from recbole_ext.run.benchmark import Benchmark
from recbole_ext.run.claims import claim
from recbole_ext.run.executors import Executor, executor_of
from recbole_ext.run.machine import require_gpu
from recbole_ext.run.recording import RunDied, is_done, read_record, record_death
from recbole_ext.run.spec import RunSpec, dataset_settings, encoder_path, expand, store_path
from recbole_ext.tune import tune

if TYPE_CHECKING:
    from recbole_ext.report import LeaderboardReport

log = logging.getLogger(__name__)


def run_benchmark(benchmark: Benchmark, command: str) -> tuple[LeaderboardReport, list[RunSpec]]:
    """Run what is missing of the grid and report; returns the report and the runs that failed.

    A run whose record is there and was made from the same settings, dataset and store is not run again.

    Raises:
        RecboleExtError: a store can't be made, or every run failed.
    """
    require_gpu(benchmark.config)
    (benchmark.results / benchmark.name / "runs").mkdir(parents=True, exist_ok=True)
    make_stores(benchmark)
    specs = list(expand(benchmark, command))
    search = [spec for spec in specs if spec.seed == benchmark.seeds[0]]
    searching = len({_canonical(spec.candidate) for spec in search}) > 1
    with executor_of(benchmark) as executor:
        # Runs that make the stores of `finetune` come first, for they take longest; those that start from such a store
        # wait for it, because their records are fingerprinted by it.
        search.sort(key=lambda spec: spec.exports is None)
        made_here = {spec.exports for spec in search if spec.exports}
        waiting = [spec for spec in search if spec.store in made_here]
        doing = "searching" if searching else "running"
        failed = run_all([spec for spec in search if spec.store not in made_here], executor, doing)
        failed += run_all(waiting, executor, doing)
        chosen = chosen_candidates(search)
        rest = [
            spec
            for spec in specs
            if spec.seed != benchmark.seeds[0] and chosen.get(_cell(spec)) == _canonical(spec.candidate)
        ]
        failed += run_all(rest, executor, "running")
    return write_report(benchmark.results / benchmark.name), failed


def make_stores(benchmark: Benchmark) -> None:
    """See that every dataset is there, and encode it with every encoder of the grid, where that is not done yet."""
    for dataset in benchmark.datasets:
        settings = dataset_settings(benchmark, dataset)
        require_dataset(dataset, benchmark.data_path, settings.get("recbole_name"))
        for name, init in benchmark.initialisations_in_use.items():
            if init.tune:
                tune_once(benchmark, dataset, name)
            if not init.encoder:
                continue
            store = store_path(benchmark, dataset, name)
            with claim(store.with_name(f".{store.name}.lock"), wait=True):
                report = encode(
                    dataset,
                    benchmark.data_path,
                    encoder_path(benchmark, dataset, name),
                    out=store,
                    template=init.template or settings.get("item_text"),
                    pooling=init.pooling,
                    precision=init.precision,
                    max_tokens=init.max_tokens,
                    layers=init.layers,
                    drop=[str(part) for part in init.drop],
                    item_field=settings.get("ITEM_ID_FIELD", "item_id"),
                )
            for line in report.lines():
                log.info("%s: %s", dataset, line)


def tune_once(benchmark: Benchmark, dataset: str, init: str) -> None:
    """See that the tuned encoder of this initialisation is there; targets with the same sources share one."""
    initialisation = benchmark.initialisations[init]
    assert initialisation.tune is not None
    out = Path(encoder_path(benchmark, dataset, init))
    with claim(out.with_name(f".{out.name}.lock"), wait=True):
        tuned = tune(
            initialisation.tune.sources_of(dataset),
            benchmark.data_path,
            str(initialisation.encoder),
            out,
            initialisation.tune.settings,
            dataset_configs=benchmark.dataset_configs,
            checkpoint=initialisation.tune.checkpoint,
        )
    for line in tuned.lines():
        log.info("%s", line)


def run_all(specs: Iterable[RunSpec], executor: Executor, what: str) -> list[RunSpec]:
    """Run those of ``specs`` that have no valid record; returns those that failed.

    What another call on the same results is running is left to it and waited for, after all else is done.
    """
    # By name, because an override can make two points of a search the same one.
    missing = list({spec.name: spec for spec in specs if not is_done(spec)}.values())
    failed: list[RunSpec] = []
    with (
        logging_redirect_tqdm(),
        tqdm(total=len(missing), desc=what, unit="run", disable=not missing) as progress,
    ):
        wait = False
        try:
            while missing:
                started = {executor.submit(spec, wait): spec for spec in missing}
                missing, wait = [], True
                for finished in as_completed(started):
                    spec = started[finished]
                    record = _record_of(spec, finished)
                    if record is None:
                        missing.append(spec)
                        continue
                    progress.update()
                    if record["status"] == "failed":
                        failed.append(spec)
                        log.error("%s failed: %s", spec.name, record["error"])
                    else:
                        metric = str(record["config"]["valid_metric"]).lower()
                        log.info("%s: test %s %.4f", spec.name, metric, record["test"][metric])
        except KeyboardInterrupt:
            executor.stop()
            raise
    return failed


def _record_of(spec: RunSpec, finished: Future[bool]) -> dict[str, Any] | None:
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


def chosen_candidates(search: list[RunSpec]) -> dict[tuple[str, ...], str]:
    """The candidate that validation chose in each cell of the grid."""
    finished = [record for spec in search if (record := read_record(spec)) and record["status"] == "done"]
    return {
        (r["dataset"], r["model"], r["init"], r["mode"], r["protocol"]): _canonical(r["candidate"])
        for r in select_candidates(finished)
    }


def _cell(spec: RunSpec) -> tuple[str, ...]:
    return spec.dataset, spec.model, spec.init, spec.mode, spec.protocol


def _canonical(candidate: dict[str, Any]) -> str:
    return json.dumps(candidate, sort_keys=True)
