"""``recbole-ext bench memory``: what preparing many interactions and training on a large catalogue take."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.bench.measuring import apart, timed
from recbole_ext.bench.scale import Size, made_up

if TYPE_CHECKING:
    from recbole_ext.benchmark import RunSpec

log = logging.getLogger(__name__)

INTERACTIONS = (1_000_000, 10_000_000)
CATALOGUE = {"items": 140_000, "width": 768, "targets": 4_096}
"""The paper's Arts at the paper's width, and a large batch."""


def run_memory(interactions: tuple[int, ...] = INTERACTIONS) -> dict[str, Any]:
    """Measure each in a process of its own; returns the result.

    ``preparation``: peak resident memory of all that comes before the first epoch of SASRec on so many interactions
    (reading, splitting, grouping, the model of 100,000 items), and how much of it the process had before.
    ``training_step``: peak of whole steps (encoder, softmax over all items, backward, Adam) above the parameters and
    the optimiser's state; the gradients are part of it.
    """
    from recbole_ext.runs.trial import lone_run

    measured = []
    for number in interactions:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            dataset = made_up(folder, Size(users=number // 10, length=10, items=100_000))
            # A run's process is given what was resolved elsewhere: checking the files is no part of its memory.
            spec = lone_run("SASRec", dataset, {}, folder)
            measured.append({"interactions": number, **apart(preparation, spec)})
        log.info("%s", measured[-1])
    step = {**CATALOGUE, **apart(training_step, *CATALOGUE.values())}
    log.info("%s", step)
    return {"preparation": measured, "training_step": step}


def preparation(spec: RunSpec) -> dict[str, float]:
    """Peak memory, MiB, and seconds of everything before the first batch."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.machine import peak_memory_mb
    from recbole_ext.runs.single import build_config
    from recbole_ext.training.prepare import prepare

    config = build_config(spec)
    before = peak_memory_mb()
    seconds, _ = timed(lambda: next(iter(prepare(config, spec.artifacts / "best.pth").samples.loader)))
    return {"peak_memory_mb": peak_memory_mb(), "before_mb": before, "seconds": seconds}


def training_step(items: int, width: int, targets: int) -> dict[str, float]:
    """Peak memory, MiB, of one Adam step of a SASRec-sized encoder, and what parameters and optimiser hold of it."""
    import torch
    from recbole.model.layers import TransformerEncoder

    from recbole_ext.machine import peak_memory_mb
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
