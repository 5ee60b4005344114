"""``recbole-ext bench memory``: what preparing many interactions and training on a large catalogue take."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_ext.bench.scale import Size, write_interactions
from recbole_ext.writing import write_json

log = logging.getLogger(__name__)

INTERACTIONS = (1_000_000, 10_000_000)
CATALOGUE = {"items": 140_000, "width": 768, "targets": 4_096}
"""The paper's Arts at the paper's width, and a large batch."""


def run_memory(out: Path, command: str, interactions: tuple[int, ...] = INTERACTIONS) -> dict[str, Any]:
    """Measure each in a process of its own and write ``out``; returns what it wrote.

    ``preparation``: peak resident memory of reading, splitting and grouping so many interactions for SASRec, and how
    much of it the process had before. ``training_step``: peak of whole steps (encoder, softmax over all items,
    backward, Adam) above the parameters and the optimiser's state; the gradients are part of it.
    """
    from recbole_ext.run.machine import git_revision, versions

    result: dict[str, Any] = {
        "command": command,
        "versions": versions(),
        "git_revision": git_revision(),
        "preparation": [],
    }
    for number in interactions:
        with tempfile.TemporaryDirectory() as folder:
            write_interactions(Path(folder), Size(users=number // 10, length=10, items=100_000))
            result["preparation"].append({"interactions": number, **_apart(preparation, folder)})
        log.info("%s", result["preparation"][-1])
    result["training_step"] = {**CATALOGUE, **_apart(training_step, *CATALOGUE.values())}
    log.info("%s", result["training_step"])
    write_json(out, result)
    return result


def preparation(folder: str) -> dict[str, float]:
    """Peak memory, MiB, and seconds of everything before the first batch."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.benchmark.protocol import PROTOCOL
    from recbole_ext.models import recbole_config
    from recbole_ext.run.machine import peak_memory_mb
    from recbole_ext.training import load
    from recbole_ext.training.rows import UserRowLoader

    settings = {
        **PROTOCOL,
        "data_path": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
        "show_progress": False,
    }
    config = recbole_config("SASRec", "made-up", settings)
    before, began = peak_memory_mb(), time.perf_counter()
    loaders = load(config)
    loader = UserRowLoader(config, loaders.train._dataset, loaders.train._sampler)
    next(iter(loader))
    return {
        "peak_memory_mb": peak_memory_mb(),
        "before_mb": before,
        "seconds": time.perf_counter() - began,
    }


def training_step(items: int, width: int, targets: int) -> dict[str, float]:
    """Peak memory, MiB, of one Adam step of a SASRec-sized encoder, and what parameters and optimiser hold of it."""
    import torch
    from recbole.model.layers import TransformerEncoder

    from recbole_ext.run.machine import peak_memory_mb
    from recbole_ext.training.losses import softmax_loss
    from recbole_ext.training.transformer import fuse_kernels

    torch.manual_seed(0)
    embedding = torch.nn.Embedding(items, width)
    encoder = TransformerEncoder(2, 1, width, width, 0.5, 0.5, "gelu", 1e-12)
    fuse_kernels(encoder)  # as this package trains it
    parameters = [*embedding.parameters(), *encoder.parameters()]
    # Foreach would hold a copy of every gradient at once, which no number of items needs.
    optimizer = torch.optim.Adam(parameters, foreach=False)
    state = 3 * 4 * sum(p.numel() for p in parameters) / 2**20  # value and two moments, float32
    before = peak_memory_mb()
    length = 8
    mask = torch.zeros(1, 1, 1, 1)
    for _ in range(2):
        rows = torch.randint(1, items, (targets // length, length))
        hidden = encoder(embedding(rows), mask, output_all_encoded_layers=True)[-1]
        loss = softmax_loss(hidden.flatten(0, 1), embedding.weight, torch.randint(1, items, (targets,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    base = before - 4 * sum(p.numel() for p in parameters) / 2**20  # what Python and torch hold themselves
    peak = peak_memory_mb()
    return {"peak_memory_mb": peak, "parameters_and_optimizer_mb": state, "above_mb": peak - base - state}


def memory_table(result: dict[str, Any]) -> list[str]:
    """The measures as a Markdown table."""
    lines = ["| measure | peak memory, MiB | of it |", "| --- | ---: | --- |"]
    for row in result["preparation"]:
        lines.append(
            f"| preparing {row['interactions']:,} interactions ({row['seconds']:.0f} s) | {row['peak_memory_mb']:,.0f} "
            f"| {row['before_mb']:,.0f} MiB before any data |"
        )
    step = result["training_step"]
    lines.append(
        f"| a step over {step['items']:,} items, width {step['width']}, {step['targets']:,} targets "
        f"| {step['peak_memory_mb']:,.0f} | {step['above_mb']:,.0f} MiB above parameters and optimiser state |"
    )
    return lines


def _apart(measure: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)
