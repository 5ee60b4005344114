"""Runs outside a benchmark: for measurements, and to see that RecBole works on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_ext.benchmark import RunSpec, benchmark_of, resolve
from recbole_ext.data.dataset import Dataset

Settings = dict[str, Any]


def lone_run(model: str, dataset: Dataset, settings: Settings, folder: Path) -> RunSpec:
    """One run of ``model`` from random vectors, under the protocol; what it writes goes below ``folder``.

    Raises:
        RecboleExtError: as for a benchmark's run; see :func:`recbole_ext.benchmark.resolve`.
    """
    content = {
        "name": "trial",
        "datasets": [dataset.name],
        "models": {model: settings},
        "initialisations": ["random"],
        "data_path": dataset.data_path,
        "dataset_configs": dataset.configs,
        "results": folder,
        "artifacts": folder,
    }
    benchmark, _ = benchmark_of(content, {}, model)
    return next(resolve(benchmark, {}, "", model).specs())


def try_recbole(folder: Path) -> float:
    """Train SASRec on a tiny made-up dataset below ``folder``, evaluate and resume; returns its NDCG@10.

    Raises whatever RecBole raises where it does not work.
    """
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.runs.single import build_config
    from recbole_ext.training.prepare import prepare

    (folder / "trial").mkdir(parents=True)
    lines = [f"u{user}\ti{(user + step) % 20}\t{step}" for user in range(30) for step in range(6)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "trial" / "trial.inter").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    small = {"epochs": 1, "hidden_size": 16, "inner_size": 16}
    config = build_config(lone_run("SASRec", Dataset.named("trial", folder), small, folder))
    checkpoint = folder / "best.pth"
    run = prepare(config, checkpoint)
    run.fit()
    metrics = run.test()
    run.trainer.resume_checkpoint(checkpoint)
    return metrics["ndcg@10"]
