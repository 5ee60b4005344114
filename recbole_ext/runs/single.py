"""One run: atomic files and a store in, a record out."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.compat import make_recbole_work, plain_config
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, SourceDataError, StoreError, WriteError
from recbole_ext.machine import (
    device_in_words,
    forget_peak_device_memory,
    git_revision,
    peak_device_memory_mb,
    peak_memory_mb,
    versions,
    without_home,
)
from recbole_ext.models import recbole_config
from recbole_ext.records import Made, RunRecord
from recbole_ext.records.record import Coverage, Epoch, Fingerprints, Parameters, Seconds, Statistics, TemporalSplit
from recbole_ext.runs.checkpoint import keep_checkpoint
from recbole_ext.runs.popularity import keep_popularity
from recbole_ext.runs.progress import OnEpoch
from recbole_ext.store.files import fingerprint_of
from recbole_ext.writing import replacing_file

if TYPE_CHECKING:
    from recbole_ext.training.team import Team


WRITTEN = ("checkpoint_dir", "export_item_embedding", "export_encoder")
"""Keys that say where a run writes."""


def run_once(spec: RunSpec, on_epoch: OnEpoch | None = None, team: Team | None = None) -> RunRecord:
    """Train, evaluate and record one run; returns the record that it wrote to ``spec.record_path``.

    The order of steps, and so of random draws, is RecBole's ``run_recbole``; a run without ``item_embedding`` and
    with ``training_samples: augmented`` gives exactly its metrics.

    Args:
        on_epoch: is called after each epoch; see :data:`recbole_ext.runs.progress.OnEpoch`.
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
        training_seconds = time.perf_counter() - began
        began = time.perf_counter()
        test = run.test()
        test_seconds = time.perf_counter() - began
        kept = keep_checkpoint(Path(run.trainer.saved_model_file), spec.weights_path) if spec.keep_checkpoint else None
    finally:
        spec.checkpoint_path.unlink(missing_ok=True)
    curve = [Epoch(**{key: round(value, 6) for key, value in entry.items()}) for entry in run.trainer.curve]
    popularity = keep_popularity(run.loaders, spec.dataset, spec.folder)
    evaluations = [epoch.valid_seconds for epoch in curve if epoch.valid_seconds is not None]
    record = RunRecord(
        **names_of(spec),
        status="done",
        fingerprints=Fingerprints(
            run=spec.identity,
            dataset=spec.dataset_fingerprint,
            vectors=fingerprint_of(spec.store) if spec.store else None,
        ),
        made=Made(
            training_samples=run.samples.name,
            validation=_rounded(validation),
            test=_rounded(test),
            tied=run.trainer.tied_targets,
            tested=len(run.loaders.test._dataset.inter_feat),
            validated=_users_of(run.loaders.valid),
            valid_metric=str(config["valid_metric"]).lower(),
            best_epoch=run.trainer.best_epoch,
            stopped_early=run.trainer.stopped_early,
            epoch_limit=run.trainer.epoch_limit,
            curve=curve,
            coverage=Coverage(**run.coverage.as_dict()) if run.coverage else None,
            popularity=popularity,
            checkpoint=kept,
            statistics=statistics,
            temporal=_temporal(run.loaders.dataset),
            parameters=_parameters(run.model),
            flops=flops,
            seconds=Seconds(
                training=round(training_seconds, 3),
                test=round(test_seconds, 3),
                per_epoch=round(median(epoch.train_seconds for epoch in curve), 4) if curve else 0.0,
                per_evaluation=round(median(evaluations), 4) if evaluations else None,
            ),
            peak_memory_mb=round(peak_memory_mb(), 1),
            peak_device_memory_mb=peak_device_memory_mb(config["device"]),
            device=f"{team.size} × " * (team.size > 1) + device_in_words(config["device"]),
            versions=versions(),
            config=recorded_config(config),
        ),
    )
    ranks = run.trainer.test_ranks(run.loaders.test)
    if ranks is not None:
        import numpy as np

        with replacing_file(spec.ranks_path) as temporary, temporary.open("wb") as file:
            np.save(file, ranks)
    try:
        record.write(spec.record_path)
    except WriteError:
        for path in (spec.ranks_path, spec.weights_path):
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


def names_of(spec: RunSpec) -> dict[str, Any]:
    """The leading keys of a run's record, finished or failed."""
    return {
        "run": spec.name,
        "benchmark": spec.benchmark,
        "dataset": spec.dataset,
        "model": spec.model,
        "variant": spec.variant,
        "mode": spec.mode,
        "protocol": spec.protocol,
        "seed": spec.seed,
        "trial": spec.trial,
        "command": without_home(spec.command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
    }


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
    dataset = Dataset(spec.dataset, Path(spec.config["data_path"]), dict(config.final_config_dict))
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


def statistics_of(dataset: Any, spec: RunSpec) -> Statistics:
    """What was trained and ranked on.

    Raises:
        ConfigurationError: its counts are not the expected ones.
    """
    history = getattr(dataset, "history", None)
    statistics = Statistics(
        users=dataset.user_num - 1,
        items=dataset.item_num - 1,
        interactions=int(dataset.inter_num) if history is None else len(history),
    )
    for what, expected in spec.expected.items():
        if (found := getattr(statistics, what)) != expected:
            raise ConfigurationError(
                f"{spec.dataset}: {found} {what}, but its dataset config expects {expected}. "
                "Convert it again, or correct `expected` (and any filter) in the dataset config."
            )
    return statistics


def _users_of(loader: Any) -> int:
    """How many different users a split has."""
    dataset = loader._dataset
    return len(dataset.inter_feat[dataset.uid_field].unique())


def _temporal(dataset: Any) -> TemporalSplit | None:
    found = getattr(dataset, "counted", None)
    if found is None:
        return None
    return TemporalSplit(
        valid_from=found.cut.valid,
        test_from=found.cut.test,
        training_interactions=found.interactions[0],
        test_users=found.users[1],
        new_items=found.new_items,
        new_items_are="ranked" if dataset.temporal.new_items == "rank" else "left out",
        new_targets=found.new_targets,
    )


def _parameters(model: Any) -> Parameters:
    embedding = getattr(model, "item_embedding", None)
    parameters = list(model.parameters()) if hasattr(model, "parameters") else []  # boosted trees have none
    return Parameters(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        item_embedding=sum(p.numel() for p in embedding.parameters()) if embedding is not None else 0,
    )


def _rounded(metrics: Any) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items()}


def recorded_config(config: Any) -> dict[str, Any]:
    """RecBole's full configuration as a record holds it.

    Records speak of the project alone: paths below the working folder are relative, installed ones by name, the user's
    home is ``~``. Of other places where a run wrote, and that nothing reads again, the last part is kept. (Those that
    it read, such as ``data_path``, are kept whole: ``recommend`` looks for them there.)
    """
    here = str(Path.cwd()) + os.sep
    packages = str(Path(sys.prefix)) + os.sep

    def shorten(key: str, value: Any) -> Any:
        if isinstance(value, str):
            if "dataset_example" in value:
                return "recbole/dataset_example"
            short = value.removeprefix(here).removeprefix(packages)
            if key in WRITTEN and Path(short).is_absolute():
                return Path(short).name
            return without_home(short)
        if isinstance(value, list):
            return [shorten(key, part) for part in value]
        if isinstance(value, dict):
            return {name: shorten(key, part) for name, part in value.items()}
        return value

    return {key: shorten(key, value) for key, value in plain_config(config).items()}
