"""Losses of a dot-product scorer over many items: the whole softmax in bounded memory, or a sample of it.

All take the outputs at the targets, ``[targets, width]``, and the item matrix, ``[items, width]``, and return the
mean over the targets.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

# Logits that exist at any moment, [targets of a chunk, items], stay below this many numbers (128 MiB in float32).
MAXIMUM_LOGITS = 2**25


def softmax_loss(
    outputs: torch.Tensor, items: torch.Tensor, target: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy over all items; exact, also where ``[targets, items]`` logits would not fit in memory.

    Small problems take one matrix product. Larger ones go by chunks of targets: only each target's normaliser is kept,
    the logits are computed again in the backward pass, and all chunks add to one gradient of the items.
    (``torch.nn.functional.linear_cross_entropy`` took four times as long on a CPU: 2,048 targets, 50,000 items, width
    128, torch 2.13.)

    Args:
        target: item id per target, ``[targets]``.
        bias: added to each item's logit, ``[items]``.
    """

    if len(target) * len(items) <= MAXIMUM_LOGITS:
        logits = outputs @ items.T
        return cross_entropy(logits if bias is None else logits + bias, target)
    with torch.autocast(outputs.device.type, enabled=False):
        return _ChunkedSoftmax.apply(outputs.to(items.dtype), items, target, bias)


class _ChunkedSoftmax(torch.autograd.Function):
    """Mean cross-entropy by chunks of targets; see :func:`softmax_loss`."""

    @staticmethod
    def forward(
        ctx: Any, outputs: torch.Tensor, items: torch.Tensor, target: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        chunk = max(1, MAXIMUM_LOGITS // len(items))
        total = outputs.new_zeros(())
        normalisers = []
        for rows, wanted in zip(outputs.split(chunk), target.split(chunk), strict=True):
            logits = _logits(rows, items, bias)
            normalisers.append(logits.logsumexp(dim=1))
            total += (normalisers[-1] - logits.gather(1, wanted.unsqueeze(1)).squeeze(1)).sum()
        ctx.chunk = chunk
        ctx.save_for_backward(outputs, items, target, bias, torch.cat(normalisers))
        return total / len(target)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        outputs, items, target, bias, normalisers = ctx.saved_tensors
        of_outputs, of_items = torch.empty_like(outputs), torch.zeros_like(items)
        of_bias = None if bias is None else torch.zeros_like(bias)
        for begin in range(0, len(target), ctx.chunk):
            part = slice(begin, begin + ctx.chunk)
            # The gradient of the logits: the softmax less one at the target, over the number of targets.
            logits = _logits(outputs[part], items, bias).sub_(normalisers[part].unsqueeze(1)).exp_()
            logits[torch.arange(len(logits), device=logits.device), target[part]] -= 1
            logits *= gradient / len(target)
            of_outputs[part] = logits @ items
            of_items.addmm_(logits.T, outputs[part])
            if of_bias is not None:
                of_bias += logits.sum(dim=0)
        return of_outputs, of_items, None, of_bias


def _logits(outputs: torch.Tensor, items: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    logits = outputs @ items.T
    return logits if bias is None else logits.add_(bias)


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
