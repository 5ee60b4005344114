"""``recbole-ext bench catalogue``: a training step and an evaluation over a large catalogue, with their peak memory."""

from __future__ import annotations

from statistics import median
from typing import Any

from recbole_ext.bench.measuring import apart, peak_memory, timed

WIDTH = 256
LENGTH = 50
"""Items of a history."""


def run_catalogue(items: int, targets: int, repeats: int) -> dict[str, Any]:
    """Measure in a process of its own; returns the result.

    A step is that of a SASRec-sized encoder (two layers) with Adam and the exact softmax over all items, of rows of
    ``LENGTH`` items, an evaluation ranks one item for each of as many users among all, in batches as large as a run's.
    """
    size = {"items": items, "width": WIDTH, "targets": targets}
    return {**size, "repeats": repeats, **apart(measure, **size, repeats=repeats)}


def measure(items: int, width: int, targets: int, repeats: int) -> dict[str, Any]:
    """Median seconds of a step and of an evaluation, and the peak memory of both together."""
    import torch
    from recbole.model.layers import TransformerEncoder

    from recbole_ext.machine import device_in_words
    from recbole_ext.training.evaluation import bounded_batch_size, most_scores, places, positive_hits
    from recbole_ext.training.losses import softmax_loss
    from recbole_ext.training.transformer import fuse_kernels

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(items, width, device=device)
    encoder = TransformerEncoder(2, 2, width, 4 * width, 0.2, 0.2, "gelu", 1e-12)
    fuse_kernels(encoder)  # as a run does
    encoder.to(device)
    optimizer = torch.optim.Adam([*embedding.parameters(), *encoder.parameters()], foreach=False)
    mask = torch.zeros(1, 1, 1, 1, device=device)

    def outputs(rows: int) -> torch.Tensor:
        histories = torch.randint(1, items, (rows, LENGTH), device=device)
        return encoder(embedding(histories), mask, output_all_encoded_layers=True)[-1]

    def step() -> None:
        hidden = outputs(-(-targets // LENGTH)).flatten(0, 1)[:targets]
        loss = softmax_loss(hidden, embedding.weight, torch.randint(1, items, (len(hidden),), device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    at_once = bounded_batch_size(targets, items, most_scores(device))

    @torch.no_grad()
    def evaluate() -> None:
        for begin in range(0, targets, at_once):
            users = min(at_once, targets - begin)
            scores = outputs(users)[:, -1] @ embedding.weight.T
            target = torch.randint(1, items, (users,), device=device)
            positive_hits(scores, target, 50, orders_ties=False)
            places(scores, target)

    step()  # the first one makes the optimiser's state
    seconds = [timed(step)[0] for _ in range(repeats)]
    of_training = peak_memory(device)
    evaluate()
    return {
        "device": device_in_words(device),
        "seconds_per_step": median(seconds),
        "seconds_per_evaluation": median(timed(evaluate)[0] for _ in range(repeats)),
        "softmax_flops_per_second": 6 * targets * items * width / median(seconds),
        "after_training": of_training,
        **peak_memory(device),
    }


def catalogue_table(result: dict[str, Any]) -> list[str]:
    """The measures as a Markdown table."""
    memory = {
        "peak memory, MiB": result["peak_memory_mb"],
        "peak memory of the GPU, MiB": result.get("peak_device_memory_mb"),
    }
    lines = [
        f"| {result['items']:,} items, width {result['width']} | {result['device']} |",
        "| --- | ---: |",
        f"| seconds per training step of {result['targets']:,} targets | {result['seconds_per_step']:.4g} |",
        f"| seconds per evaluation of {result['targets']:,} users | {result['seconds_per_evaluation']:.4g} |",
    ]
    return lines + [f"| {name} | {value:,.0f} |" for name, value in memory.items() if value is not None]
