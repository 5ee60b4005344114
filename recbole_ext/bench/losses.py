"""``recbole-ext bench losses``: what the losses of a large catalogue cost and what they are worth, side by side."""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.errors import ConfigurationError
from recbole_ext.run.benchmark import Benchmark, Initialisation
from recbole_ext.run.executors import executor_of
from recbole_ext.run.grid import run_all
from recbole_ext.run.spec import RunSpec, expand
from recbole_ext.writing import write_json

log = logging.getLogger(__name__)

LOSSES: dict[str, dict[str, Any]] = {
    "softmax": {"training_loss": "softmax"},
    "sampled-softmax-1000-shared": {"training_loss": "sampled_softmax"},
    "sampled-softmax-256-own-no-logq": {
        "training_loss": "sampled_softmax",
        "training_negatives": 256,
        "training_negatives_shared": False,
        "training_logq": False,
    },
    "bce-1-own": {"training_loss": "bce"},
    "gbce-256-own": {"training_loss": "gbce"},
    "sce-256-hard": {"training_loss": "sce"},
}
"""A loss with its number of negatives, and the keys that name it."""

AT_ONCE = "softmax-all-logits-at-once"
"""The loss as RecBole computes it, for what it costs; its value is the first one's."""
CATALOGUES = (2_420, 12_101, 140_000)
"""Items of Office, of Beauty and of the paper's Arts."""
TARGETS, WIDTH = 2_048, 64
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "train_batch_size": 2048, "epochs": 100}
METRIC = "ndcg@10"


def run_losses(
    dataset: str, model: str, seeds: int, parallel: int, repeats: int, data_path: str, out: Path, command: str
) -> dict[str, Any]:
    """Measure every loss of :data:`LOSSES` and write ``out``; returns what it wrote.

    ``costs``: for each catalogue the median seconds of a loss with its gradients, :data:`TARGETS` targets of width
    :data:`WIDTH`, all losses in turns in one process; and the peak of resident memory above what outputs, items and
    their gradients take, in a process of its own. ``quality``: test NDCG@10 of ``model`` on ``dataset`` with each loss
    and the same keys (:data:`SETTINGS`; nothing is searched, and a loss may want another learning rate), with the
    seconds of an epoch. The records of its runs stand in ``losses/runs`` beside ``out``, none of them made twice.

    Raises:
        ConfigurationError: a run failed; the message names it.
    """
    from recbole_ext.run.machine import device_in_words, git_revision, versions

    costs = []
    for items in CATALOGUES:
        taken = seconds(items, repeats)
        for name, value in taken.items():
            costs.append({"items": items, "loss": name, "seconds": value, "memory_mb": _apart(memory, items, name)})
            log.info("%s", costs[-1])
    result = {
        "command": command,
        "device": device_in_words("cpu"),
        "versions": versions(),
        "git_revision": git_revision(),
        "targets": TARGETS,
        "width": WIDTH,
        "costs": costs,
        "settings": {"dataset": dataset, "model": model, **SETTINGS},
        "quality": _quality(dataset, model, seeds, parallel, data_path, out, command),
    }
    write_json(out, result)
    return result


def seconds(items: int, repeats: int) -> dict[str, float]:
    """Median seconds of each loss and its gradients over a catalogue of ``items``, in turns."""
    outputs, vectors, target = _problem(items)
    measured: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats + 1):
        for name, loss in _losses().items():
            outputs.grad = vectors.grad = None
            began = time.perf_counter()
            loss(outputs, vectors, target, None).backward()
            measured[name].append(time.perf_counter() - began)
    return {name: median(values[1:]) for name, values in measured.items()}  # the first round warms up


def memory(items: int, name: str) -> float:
    """Peak memory, MiB, of one loss and its gradients above what its inputs and their gradients hold."""
    import torch

    from recbole_ext.run.machine import peak_memory_mb

    few = _problem(64)
    _losses()[name](*few, None).backward()  # what a first call loads for good
    outputs, vectors, target = _problem(items)
    outputs.grad, vectors.grad = torch.ones_like(outputs), torch.ones_like(vectors)
    before = peak_memory_mb()
    outputs.grad = vectors.grad = None
    _losses()[name](outputs, vectors, target, None).backward()
    return max(0.0, peak_memory_mb() - before)


def losses_table(result: dict[str, Any]) -> list[str]:
    """Costs and quality as two Markdown tables."""
    names = list(dict.fromkeys(cost["loss"] for cost in result["costs"]))
    catalogues = list(dict.fromkeys(cost["items"] for cost in result["costs"]))
    titles = [f"{items:,} items: ms | MiB" for items in catalogues]
    cell = {(cost["loss"], cost["items"]): cost for cost in result["costs"]}
    lines = [
        f"| {result['targets']:,} targets, width {result['width']} | {' | '.join(titles)} |",
        "| --- |" + " ---: | ---: |" * len(catalogues),
    ]
    for name in names:
        costs = [cell[name, items] for items in catalogues]
        cells = [f"{cost['seconds'] * 1e3:,.0f} | {cost['memory_mb']:,.0f}" for cost in costs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    settings = result["settings"]
    lines += [
        "",
        f"| {settings['dataset']}, {settings['model']} | seeds | test NDCG@10 | best epoch | seconds an epoch |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in result["quality"]:
        lines.append(
            f"| {row['loss']} | {len(row['scores'])} | {row['mean']:.4f} | {row['best_epoch']:.0f} "
            f"| {row['seconds_per_epoch']:.2f} |"
        )
    return lines


def _quality(
    dataset: str, model: str, seeds: int, parallel: int, data_path: str, out: Path, command: str
) -> list[dict[str, Any]]:
    benchmark = Benchmark(
        name="losses",
        datasets=[dataset],
        models={model: SETTINGS},
        initialisations={"none": Initialisation()},
        protocols=LOSSES,
        seeds=list(range(42, 42 + seeds)),
        data_path=data_path,
        results=out.parent,
        parallel_runs=parallel,
    )
    specs = list(expand(benchmark, command))
    with executor_of(benchmark) as executor:
        failed = run_all(specs, executor, model)
    if failed:
        raise ConfigurationError(f"{failed[0].record_path}: the run failed; see there why, mend it and call again.")
    return [_row(loss, [spec for spec in specs if spec.protocol == loss]) for loss in LOSSES]


def _row(loss: str, specs: list[RunSpec]) -> dict[str, Any]:
    records = [json.loads(spec.record_path.read_text(encoding="utf-8")) for spec in specs]
    scores = [record["test"][METRIC] for record in records]
    return {
        "loss": loss,
        "scores": scores,
        "mean": sum(scores) / len(scores),
        "best_epoch": median(record["best_epoch"] for record in records),
        "seconds_per_epoch": median(record["seconds"]["per_epoch"] for record in records),
    }


def _losses() -> dict[str, Callable[..., Any]]:
    from torch.nn.functional import cross_entropy

    from recbole_ext.training.losses import training_loss

    chosen = {name: training_loss(defaultdict(lambda: None, keys)) for name, keys in LOSSES.items()}
    named = {name: loss for name, loss in chosen.items() if loss is not None}
    return {AT_ONCE: lambda outputs, items, target, _: cross_entropy(outputs @ items.T, target), **named}


def _problem(items: int) -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(0)
    outputs = (torch.randn(TARGETS, WIDTH) * 0.5).requires_grad_()
    vectors = (torch.randn(items, WIDTH) * 0.3).requires_grad_()
    return outputs, vectors, torch.randint(1, items, (TARGETS,))


def _apart(measure: Callable[..., float], *arguments: Any) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)
