"""What a run's record says: of the run, of its data and model, and of the configuration that it had."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.compat import plain_config
from recbole_ext.errors import ConfigurationError
from recbole_ext.machine import (
    device_in_words,
    git_revision,
    peak_device_memory_mb,
    peak_memory_mb,
    versions,
    without_home,
)
from recbole_ext.records import Made, RunRecord
from recbole_ext.records.record import (
    Checkpoint,
    Coverage,
    Epoch,
    Fingerprints,
    Parameters,
    Seconds,
    Statistics,
    TemporalSplit,
)
from recbole_ext.runs.popularity import keep_popularity
from recbole_ext.store.files import fingerprint_of

if TYPE_CHECKING:
    from recbole_ext.training.prepare import PreparedRun

WRITTEN = ("checkpoint_dir", "export_item_embedding", "export_encoder")
"""Keys that say where a run writes."""


def record_of(
    spec: RunSpec,
    run: PreparedRun,
    validation: dict[str, float],
    test: dict[str, float],
    statistics: Statistics,
    flops: float | None,
    checkpoint: Checkpoint | None,
    seconds: tuple[float, float],
) -> RunRecord:
    """The record of a finished run; writes the popularity beside it.

    Args:
        seconds: of training and of the test.
    """
    config, team = run.config, run.trainer.team
    curve = [Epoch(**{key: round(value, 6) for key, value in entry.items()}) for entry in run.trainer.curve]
    evaluations = [epoch.valid_seconds for epoch in curve if epoch.valid_seconds is not None]
    return RunRecord(
        **names_of(spec),
        status="done",
        fingerprints=Fingerprints(
            run=spec.identity,
            dataset=spec.dataset_fingerprint,
            vectors=fingerprint_of(spec.store) if spec.store else None,
        ),
        made=Made(
            training_samples=run.samples.name,
            validation=validation,
            test=test,
            tied=run.trainer.tied_targets,
            tested=len(run.loaders.test._dataset.inter_feat),
            validated=_users_of(run.loaders.valid),
            valid_metric=str(config["valid_metric"]).lower(),
            best_epoch=run.trainer.best_epoch,
            stopped_early=run.trainer.stopped_early,
            epoch_limit=run.trainer.epoch_limit,
            curve=curve,
            coverage=Coverage(**run.coverage.as_dict()) if run.coverage else None,
            popularity=keep_popularity(run.loaders, spec.dataset, spec.folder),
            checkpoint=checkpoint,
            statistics=statistics,
            temporal=_temporal(run.loaders.dataset),
            parameters=_parameters(run.model),
            flops=flops,
            seconds=Seconds(
                training=round(seconds[0], 3),
                test=round(seconds[1], 3),
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
