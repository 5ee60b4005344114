"""Losses of a dot-product scorer over many items: the whole softmax in bounded memory, or a sample of it.

All take the outputs at the targets, ``[targets, width]``, and the item matrix, ``[items, width]``, and return the
mean over the targets.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.checkpoint import checkpoint

# Logits that exist at any moment, [targets of a chunk, items], stay below this many numbers (128 MiB in float32).
MAXIMUM_LOGITS = 2**25


def softmax_loss(
    outputs: torch.Tensor, items: torch.Tensor, target: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy over all items; exact, also where ``[targets, items]`` logits would not fit in memory.

    Small problems take one matrix product. Larger ones go by chunks of targets whose logits are computed again in
    the backward pass instead of being kept. (``torch.nn.functional.linear_cross_entropy`` saves the same memory but
    took four times as long on a CPU: 2,048 targets, 50,000 items, width 128, torch 2.13.)

    Args:
        target: item id per target, ``[targets]``.
        bias: added to each item's logit, ``[items]``.
    """

    def total(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = outputs @ items.T
        return cross_entropy(logits if bias is None else logits + bias, target, reduction="sum")

    chunk = max(1, MAXIMUM_LOGITS // len(items))
    if len(target) <= chunk:
        return total(outputs, target) / len(target)
    parts = zip(outputs.split(chunk), target.split(chunk), strict=True)
    return torch.stack([checkpoint(total, *part, use_reentrant=False) for part in parts]).sum() / len(target)


def sampled_softmax_loss(
    outputs: torch.Tensor,
    items: torch.Tensor,
    target: torch.Tensor,
    negatives: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy over the target and ``negatives``, ``[sampled]``, drawn uniformly and shared by all targets.

    Each negative stands for the ``items / sampled`` items it was drawn from (Bengio and Senécal 2008: subtract the
    log of the expected count), so that the loss estimates the whole softmax's. A negative that is a row's target is
    left out of that row.
    """
    positive = (outputs * items[target]).sum(-1, keepdim=True)
    sampled = outputs @ items[negatives].T
    if bias is not None:
        positive, sampled = positive + bias[target].unsqueeze(1), sampled + bias[negatives]
    sampled = sampled + math.log((len(items) - 1) / len(negatives))
    sampled = sampled.masked_fill(negatives == target.unsqueeze(1), -torch.inf)
    return -torch.cat([positive, sampled], dim=1).log_softmax(dim=1)[:, 0].mean()


def binary_loss(
    outputs: torch.Tensor,
    items: torch.Tensor,
    target: torch.Tensor,
    negatives: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary cross-entropy of the target against sampled negatives, ``[targets, sampled]`` (SASRec, eq. 10)."""
    positive = (outputs * items[target]).sum(-1)
    negative = (outputs.unsqueeze(1) * items[negatives]).sum(-1)
    if bias is not None:
        positive, negative = positive + bias[target], negative + bias[negatives]
    return (
        binary_cross_entropy_with_logits(positive, torch.ones_like(positive), reduction="sum")
        + binary_cross_entropy_with_logits(negative, torch.zeros_like(negative), reduction="sum")
    ) / len(target)
