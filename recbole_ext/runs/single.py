"""One run: atomic files and a store in, a record out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.compat import make_recbole_work
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import SourceDataError, StoreError, WriteError
from recbole_ext.machine import forget_peak_device_memory
from recbole_ext.models import recbole_config
from recbole_ext.records import RunRecord
from recbole_ext.records.ranks import ranks_beside, write_ranks
from recbole_ext.runs.checkpoint import keep_checkpoint
from recbole_ext.runs.recorded import record_of, statistics_of
from recbole_ext.store.files import fingerprint_of

if TYPE_CHECKING:
    from recbole_ext.training.team import Team
    from recbole_ext.training.trainer import OnEpoch


def run_once(spec: RunSpec, on_epoch: OnEpoch | None = None, team: Team | None = None) -> RunRecord:
    """Train, evaluate and record one run; returns the record that it wrote to ``spec.record_path``.

    The order of steps, and so of random draws, is RecBole's ``run_recbole``; a run without ``item_embedding`` and
    with ``training_samples: augmented`` gives exactly its metrics.

    Args:
        on_epoch: is called after each epoch; see :data:`recbole_ext.training.trainer.OnEpoch`.
        team: the processes that share the run, of which this one leads; the others :func:`take_part`.

    Raises:
        SourceDataError: the dataset is not there, or has changed since the run was resolved.
        ConfigurationError: RecBole refuses the configuration, or the dataset's counts are not the expected ones.
        AttachError, StoreError: the store does not fit; see :func:`recbole_ext.attach.attach_item_embedding`.
    """
    make_recbole_work()
    from recbole_ext.training import ALONE, count_flops, prepare

    team = team or ALONE
    forget_peak_device_memory()
    config = build_config(spec)
    refuse_changed_files(spec, config)
    run = prepare(config, spec.checkpoint_path, team)
    statistics = statistics_of(run.loaders.dataset, spec)
    flops = count_flops(run)
    began = time.perf_counter()
    try:
        validation = run.fit(on_epoch)
        trained = time.perf_counter()
        test = run.test()
        seconds = trained - began, time.perf_counter() - trained
        kept = keep_checkpoint(Path(run.trainer.saved_model_file), spec.weights_path) if spec.keep_checkpoint else None
    finally:
        spec.checkpoint_path.unlink(missing_ok=True)
    record = record_of(spec, run, validation, test, statistics, flops, kept, seconds)
    ranks = run.trainer.test_ranks(run.loaders.test)
    if ranks is not None:
        write_ranks(spec.record_path, ranks)
    try:
        record.write(spec.record_path)
    except WriteError:
        for path in (ranks_beside(spec.record_path), spec.weights_path):
            path.unlink(missing_ok=True)  # of use beside a record alone
        raise
    return record


def take_part(spec: RunSpec, team: Team) -> None:
    """The run of :func:`run_once` as the processes do it that don't lead: the same steps, and nothing is written."""
    make_recbole_work()
    from recbole_ext.training import count_flops, prepare

    config = build_config(spec)
    config["show_progress"] = config["log_wandb"] = False
    run = prepare(config, spec.checkpoint_path, team)
    count_flops(run)  # which may draw random numbers
    run.fit()
    run.test()


def build_config(spec: RunSpec) -> Any:
    """RecBole's ``Config`` of this run.

    Raises:
        ConfigurationError: RecBole refuses a value.
    """
    settings = dict(spec.config)
    settings.setdefault("show_progress", False)
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        # Who gave this process its GPUs, such as Ray, has chosen; RecBole would take the first.
        settings["gpu_id"] = os.environ["CUDA_VISIBLE_DEVICES"]
    settings["checkpoint_dir"] = str(spec.checkpoint_path.parent)
    return recbole_config(spec.model, spec.dataset, settings)


def refuse_changed_files(spec: RunSpec, config: Any, vectors: bool = True) -> None:
    """See that dataset and, with ``vectors``, store are still what the run was resolved with.

    Raises:
        SourceDataError, StoreError: they are not.
    """
    dataset = Dataset.of_config(config)
    if dataset.fingerprint() != spec.dataset_fingerprint:
        raise SourceDataError(
            f"{dataset.folder}: its files have changed since this benchmark began. Start it again: what was made of "
            "the files as they are now is kept."
        )
    if spec.store is None or not vectors:
        return
    if not spec.store.exists() or (spec.store_content and fingerprint_of(spec.store) != spec.store_content):
        raise StoreError(
            f"{spec.store}: the vectors that this run starts from have changed. Start the benchmark again."
        )
