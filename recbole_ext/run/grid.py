"""All runs of a benchmark: stores first, then the search, then the remaining seeds of what the search chose."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from recbole_ext.encode import encode
from recbole_ext.errors import RecboleExtError
from recbole_ext.report import select_candidates, write_report
from recbole_ext.run.benchmark import Benchmark
from recbole_ext.run.dataset_files import require_dataset
from recbole_ext.run.spec import RunSpec, dataset_settings, encoder_path, expand, store_path
from recbole_ext.tune import tune
from recbole_ext.writing import write_json

if TYPE_CHECKING:
    from recbole_ext.report import LeaderboardReport

log = logging.getLogger(__name__)

_stopping = threading.Event()


def run_benchmark(benchmark: Benchmark, command: str) -> tuple[LeaderboardReport, list[RunSpec]]:
    """Run what is missing of the grid and report; returns the report and the runs that failed.

    A run whose record is there and was made from the same settings, dataset and store is not run again.

    Raises:
        RecboleExtError: a store can't be made, or every run failed.
    """
    (benchmark.results / benchmark.name / "runs").mkdir(parents=True, exist_ok=True)
    make_stores(benchmark)
    specs = list(expand(benchmark, command))
    # These make the stores of `finetune`, which the others' records are fingerprinted by.
    failed = run_all([spec for spec in specs if spec.exports], benchmark.parallel_runs, "fine-tuning")
    search = [spec for spec in specs if spec.seed == benchmark.seeds[0]]
    searching = len({_canonical(spec.candidate) for spec in search}) > 1
    failed += run_all([spec for spec in search if not (spec.exports and spec in failed)], benchmark.parallel_runs, "searching" if searching else "running")
    chosen = chosen_candidates(search)
    rest = [
        spec
        for spec in specs
        if spec.seed != benchmark.seeds[0] and chosen.get(_cell(spec)) == _canonical(spec.candidate)
    ]
    failed += run_all(rest, benchmark.parallel_runs, "running")
    return write_report(benchmark.results / benchmark.name), failed


def make_stores(benchmark: Benchmark) -> None:
    """See that every dataset is there, and encode it with every encoder of the grid, where that is not done yet."""
    for dataset in benchmark.datasets:
        require_dataset(dataset, benchmark.data_path)
        settings = dataset_settings(benchmark, dataset)
        for name, init in benchmark.initialisations.items():
            if init.tune:
                tune_once(benchmark, dataset, name)
            if init.encoder:
                report = encode(
                    dataset,
                    benchmark.data_path,
                    encoder_path(benchmark, dataset, name),
                    out=store_path(benchmark, dataset, name),
                    template=init.template or settings.get("item_text"),
                    pooling=init.pooling,
                    precision=init.precision,
                    max_tokens=init.max_tokens,
                    item_field=settings.get("ITEM_ID_FIELD", "item_id"),
                )
                for line in report.lines():
                    log.info("%s: %s", dataset, line)


def tune_once(benchmark: Benchmark, dataset: str, init: str) -> None:
    """See that the tuned encoder of this initialisation is there; targets with the same sources share one."""
    initialisation = benchmark.initialisations[init]
    assert initialisation.tune is not None
    tuned = tune(
        initialisation.tune.sources_of(dataset),
        benchmark.data_path,
        str(initialisation.encoder),
        encoder_path(benchmark, dataset, init),
        initialisation.tune.settings,
        dataset_configs=benchmark.dataset_configs,
        checkpoint=initialisation.tune.checkpoint,
    )
    for line in tuned.lines():
        log.info("%s", line)


def run_all(specs: Iterable[RunSpec], parallel: int, what: str) -> list[RunSpec]:
    """Run those of ``specs`` that have no valid record, ``parallel`` at a time; returns those that failed."""
    # By name, because an override can make two points of a search the same one.
    missing = list({spec.name: spec for spec in specs if not is_done(spec)}.values())
    threads = max(1, (os.cpu_count() or 1) // parallel)
    failed = []
    _stopping.clear()
    with (
        logging_redirect_tqdm(),
        tqdm(total=len(missing), desc=what, unit="run", disable=not missing) as progress,
        ThreadPoolExecutor(parallel) as executor,
    ):
        started = {executor.submit(run_apart, spec, threads): spec for spec in missing}
        try:
            for finished in as_completed(started):
                spec, record = started[finished], finished.result()
                progress.update()
                if record["status"] == "failed":
                    failed.append(spec)
                    log.error("%s failed: %s", spec.name, record["error"])
                else:
                    metric = str(record["config"]["valid_metric"]).lower()
                    log.info("%s: test %s %.4f", spec.name, metric, record["test"][metric])
        except KeyboardInterrupt:
            _stop(executor)
            raise
    return failed


def _stop(executor: ThreadPoolExecutor) -> None:
    """Start no further run and end those that are under way; none of them leaves a record."""
    _stopping.set()
    executor.shutdown(wait=False, cancel_futures=True)
    for child in multiprocessing.active_children():
        child.terminate()


def is_done(spec: RunSpec) -> bool:
    """Whether a finished record of exactly this run exists."""
    try:
        record = json.loads(spec.record_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if spec.exports and not spec.exports.exists():
        return False
    return record.get("status") == "done" and record.get("fingerprints", {}).get("run") == spec.fingerprint


def run_apart(spec: RunSpec, threads: int) -> dict[str, Any]:
    """Run ``spec`` in a process of its own with ``threads`` threads; whatever becomes of it, there is a record.

    The processes are forked from one that has torch and RecBole loaded, so each has its own memory, to be measured
    and to be lost, without loading them again.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recbole_ext.run.worker"])
    process = context.Process(target=_run_and_record, args=(spec, threads), daemon=True)
    process.start()
    process.join()
    if process.exitcode != 0 and not _stopping.is_set():
        _record_failure(spec, f"the process ended with exit code {process.exitcode} (killed, or out of memory)", "")
    return {} if _stopping.is_set() else json.loads(spec.record_path.read_text(encoding="utf-8"))


def _run_and_record(spec: RunSpec, threads: int) -> None:
    import torch

    from recbole_ext.run.single import run_once
    from recbole_ext.run.worker import quiet_recbole

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    torch.set_num_threads(threads)
    quiet_recbole()
    try:
        run_once(spec)
    except RecboleExtError as error:
        _record_failure(spec, str(error), "")
    except Exception as error:
        _record_failure(spec, f"{type(error).__name__}: {error}", traceback.format_exc())


def _record_failure(spec: RunSpec, error: str, trace: str) -> None:
    write_json(
        spec.record_path,
        {
            **spec.identity(),
            "status": "failed",
            "error": error,
            "traceback": trace,
            "command": spec.command,
            "fingerprints": {"run": spec.fingerprint},
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )


def chosen_candidates(search: list[RunSpec]) -> dict[tuple[str, ...], str]:
    """The candidate that validation chose in each cell of the grid."""
    records = [json.loads(spec.record_path.read_text(encoding="utf-8")) for spec in search]
    finished = [record for record in records if record["status"] == "done"]
    return {
        (r["dataset"], r["model"], r["init"], r["mode"], r["protocol"]): _canonical(r["candidate"])
        for r in select_candidates(finished)
    }


def _cell(spec: RunSpec) -> tuple[str, ...]:
    return spec.dataset, spec.model, spec.init, spec.mode, spec.protocol


def _canonical(candidate: dict[str, Any]) -> str:
    return json.dumps(candidate, sort_keys=True)
