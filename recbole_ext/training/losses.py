"""Losses of a dot-product scorer over many items: the whole softmax in bounded memory, or a sample of it.

All take the outputs at the targets, ``[targets, width]``, and the item matrix, ``[items, width]`` with the padding item
in row 0, and return the mean over the targets. The score of item i after output o is s_i = o · e_i + b_i; s_+ is the
target's. Negatives are drawn uniformly from the items, either one set for all targets, ``[sampled]``, or a set for each
target, ``[targets, sampled]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch.nn.functional import logsigmoid

from recbole_ext.capacity import ALL_ITEMS_PER_NEGATIVE, NUMBER, at_once
from recbole_ext.errors import ConfigurationError

Tensor: TypeAlias = torch.Tensor
DotProductLoss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""``loss(outputs, items, target, bias)``."""

# Logits that exist at any moment, [targets of a chunk, items], stay below this many numbers (128 MiB in float32), on an
# accelerator below this share of its memory.
MAXIMUM_LOGITS = 2**25
SHARE_OF_LOGITS = 1 / 32
# A chunk of about so many logits stays in a processor's cache from the product that makes it to the last that reads it.
CACHED_LOGITS = 2**20
# Fewer targets at once make the products of a chunk slow, whatever the cache.
FEWEST_TARGETS = 128

TRAINING_LOSSES = ("model", "softmax", "sampled_softmax", "bce", "gbce", "sce")
"""``model`` is the loss that the model brings; the others need a model that scores by a dot product with its items."""
SAMPLED_BY_DEFAULT = {"sampled_softmax": 1000, "bce": 1, "gbce": 256, "sce": 256}
SHARED_BY_DEFAULT = {"sampled_softmax": True, "bce": False, "gbce": False}
GBCE_T = 0.75


def training_loss(config: Any) -> DotProductLoss | None:
    """The loss that ``training_loss`` names, with negatives drawn anew at each call; ``None`` for the model's own.

    Args:
        config: RecBole's ``Config`` or any mapping with ``training_loss``; ``training_negatives``, how many;
            ``training_negatives_shared``, one set for all targets of a part instead of one for each (by default for
            ``sampled_softmax`` alone); ``training_logq`` (true by default), see :func:`sampled_softmax_loss`;
            ``gbce_t`` (0.75), see :func:`gbce_loss`.

    Raises:
        ConfigurationError: an unknown loss, or a value that the loss can't have.
    """
    kind = config["training_loss"] or "model"
    if kind not in TRAINING_LOSSES:
        raise ConfigurationError(f"training_loss: {kind!r} is unknown; choose one of {', '.join(TRAINING_LOSSES)}.")
    if kind == "model":
        return None
    if kind == "softmax":
        return softmax_loss
    sampled = _number_of_negatives(config, kind)
    shared = kind != "sce" and _flag(config, "training_negatives_shared", SHARED_BY_DEFAULT[kind])
    logq, t = _flag(config, "training_logq", True), _calibration(config)

    def loss(outputs: Tensor, items: Tensor, target: Tensor, bias: Tensor | None) -> Tensor:
        if kind == "sce":
            return sce_loss(outputs, items, target, sampled, bias)
        shape = (sampled,) if shared else (len(target), sampled)
        negatives = torch.randint(1, len(items), shape, device=target.device)
        if kind == "sampled_softmax":
            return sampled_softmax_loss(outputs, items, target, negatives, bias, logq)
        if kind == "gbce":
            return gbce_loss(outputs, items, target, negatives, bias, t)
        return binary_loss(outputs, items, target, negatives, bias)

    def in_full_precision(outputs: Tensor, items: Tensor, target: Tensor, bias: Tensor | None) -> Tensor:
        # Under autocast, the gradient of one negative among many is nothing in float16.
        with torch.autocast(target.device.type, enabled=False):
            return loss(outputs.to(items.dtype), items, target, bias)

    return in_full_precision


def _number_of_negatives(config: Any, kind: str) -> int:
    value = config["training_negatives"]
    if value is None:
        return SAMPLED_BY_DEFAULT[kind]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"training_negatives: {value!r} is not a whole number from 1.")
    return value


def _flag(config: Any, key: str, default: bool) -> bool:
    value = config[key]
    if not isinstance(value, bool | None):
        raise ConfigurationError(f"{key}: {value!r} is neither true nor false.")
    return default if value is None else value


def _calibration(config: Any) -> float:
    value = config["gbce_t"]
    if value is None:
        return GBCE_T
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigurationError(f"gbce_t: {value!r} is not a number from 0 (plain BCE) to 1 (fully calibrated).")
    return float(value)


def softmax_loss(outputs: Tensor, items: Tensor, target: Tensor, bias: Tensor | None = None) -> Tensor:
    """Cross-entropy over all items, -log(exp s_+ / Σ_i exp s_i); exact, in the memory of a few targets' logits.

    It goes by chunks of targets, and both gradients are computed while a chunk's logits are at hand: they are made
    once, read in the cache, and never all there.
    (``torch.nn.functional.linear_cross_entropy`` took 1.8 times as long on a CPU: 2,048 targets, 50,000 items, width
    128, torch 2.13.)

    Args:
        target: item id per target, ``[targets]``.
        bias: added to each item's score, ``[items]``.
    """
    with torch.autocast(outputs.device.type, enabled=False):
        return _Softmax.apply(outputs.to(items.dtype), items, target, bias, torch.is_grad_enabled())


class _Softmax(torch.autograd.Function):
    """Mean cross-entropy by chunks of targets; see :func:`softmax_loss`.

    With P the softmax of a chunk's logits, the gradients are P E - E_+ for its outputs and, added up over the chunks,
    Pᵀ O less each output at its target for the items. P is never made: the exponentials stay as they are, and what they
    sum to divides the small factors instead.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, items: Tensor, target: Tensor, bias: Tensor | None, wanted: bool) -> Tensor:
        n_targets, chunk = len(target), _targets_at_once(items)
        of_outputs = torch.empty_like(outputs) if wanted else None
        of_items = torch.zeros_like(items) if wanted else None
        of_bias = torch.zeros_like(bias) if wanted and bias is not None else None
        total = outputs.new_zeros(())
        room = outputs.new_empty(min(chunk, n_targets), len(items))
        for begin in range(0, n_targets, chunk):
            part = slice(begin, begin + chunk)
            logits = room[: len(target[part])]
            torch.mm(outputs[part], items.T, out=logits)
            if bias is not None:
                logits += bias
            own = logits.gather(1, target[part].unsqueeze(1))
            largest = logits.amax(dim=1, keepdim=True)
            exponentials = logits.sub_(largest).exp_()
            sums = exponentials.sum(dim=1, keepdim=True)
            total += (sums.log() + largest - own).sum()
            if of_outputs is None or of_items is None:
                continue
            share = 1 / (sums * n_targets)
            of_outputs[part] = (exponentials @ items) * share
            of_items.addmm_(exponentials.T, outputs[part] * share)
            if of_bias is not None:
                of_bias.addmv_(exponentials.T, share.squeeze(1))
        if of_outputs is not None and of_items is not None:
            of_outputs.sub_(items[target], alpha=1 / n_targets)
            of_items.index_add_(0, target, outputs, alpha=-1 / n_targets)
        if of_bias is not None:
            of_bias.index_add_(0, target, torch.ones_like(target, dtype=of_bias.dtype), alpha=-1 / n_targets)
        ctx.gradients = of_outputs, of_items, of_bias
        return total / n_targets

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_outputs, of_items, of_bias = ctx.gradients
        del ctx.gradients  # scaled in place below, so good for one backward pass
        return (
            of_outputs.mul_(gradient),
            of_items.mul_(gradient),
            None,
            None if of_bias is None else of_bias.mul_(gradient),
            None,
        )


def _targets_at_once(items: Tensor) -> int:
    most = max(1, _most_logits(items) // len(items))
    if items.device.type != "cpu":
        return most
    return min(most, max(FEWEST_TARGETS, CACHED_LOGITS // len(items)))


def _most_logits(items: Tensor) -> int:
    return at_once(items.device, MAXIMUM_LOGITS, SHARE_OF_LOGITS, NUMBER)


def sampled_softmax_loss(
    outputs: Tensor, items: Tensor, target: Tensor, negatives: Tensor, bias: Tensor | None = None, logq: bool = True
) -> Tensor:
    """Cross-entropy over the target and its negatives, -log(exp s_+ / (exp s_+ + Σ_k exp(s_k + c))).

    With ``logq`` (Bengio and Senécal, IEEE Transactions on Neural Networks 2008: subtract the log of the expected
    count) each negative stands for the items it was drawn from, c = log(items / sampled), so that the loss estimates
    the whole softmax's. Without it c = 0, as in eSASRec (arXiv 2508.06450) and HSTU (arXiv 2402.17152): the target
    need only stand out from so many others. A negative that is a target's own item is left out there.
    """
    positive = _score(outputs, items, target, bias)
    sampled = _scores_of_sampled(outputs, items, negatives, bias)
    if logq:
        sampled = sampled + math.log((len(items) - 1) / negatives.shape[-1])
    sampled = sampled.masked_fill(negatives == target.unsqueeze(1), -torch.inf)
    return (torch.cat([positive.unsqueeze(1), sampled], dim=1).logsumexp(dim=1) - positive).mean()


def binary_loss(
    outputs: Tensor, items: Tensor, target: Tensor, negatives: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of the target against its negatives, -log σ(s_+) - Σ_k log(1 - σ(s_k)) (SASRec, eq. 10).

    Kang and McAuley, ICDM 2018 (arXiv 1808.09781), with one negative; theirs are items that the user has not had. Of K
    negatives, all scores begin log K lower, see :func:`gbce_loss`.
    """
    positive = _score(outputs, items, target, bias)
    return _binary(positive, _scores_of_sampled(outputs, items, negatives, bias), 1.0).mean()


def gbce_loss(
    outputs: Tensor, items: Tensor, target: Tensor, negatives: Tensor, bias: Tensor | None = None, t: float = GBCE_T
) -> Tensor:
    """Generalised binary cross-entropy of gSASRec (Petrov and Macdonald, RecSys 2023, arXiv 2308.07192).

    ``-(log σ(s_+) + Σ_k log(1 - σ(s_k)) / β)`` with K negatives, which are a share α = K / (items - 1) of all other
    items, and ``β = α (t (1 - 1/α) + 1/α)``. At t = 0 it is BCE, whose scores are overconfident because negatives
    are rarer in the sample than among the items; at t = 1, β = α undoes that. K beyond all other items counts as all.

    Differs from the paper: log(β/K) is added to all scores, which no ranking sees. A score of 0 then says "as likely as
    any other item", as RetinaNet's classes begin (Lin et al., ICCV 2017, arXiv 1708.02002, 3.3). Without it all item
    vectors must first grow one long direction in common, and from small ones the rest is not learned for very long.
    And the loss is divided by β, where the paper's is by K + 1: so gradients are as large as a softmax's, whatever K, t
    and the number of items; Adam's steps shrink where they come near its ε of 1e-8.
    """
    n_negatives = negatives.shape[-1]
    alpha = min(1.0, n_negatives / max(1, len(items) - 2))  # without the padding item and the target
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    positive = _score(outputs, items, target, bias)
    return _binary(positive, _scores_of_sampled(outputs, items, negatives, bias), beta).mean() / beta


def _binary(positive: Tensor, sampled: Tensor, weight: float) -> Tensor:
    """-w log σ(s_+ + b) - Σ_k log(1 - σ(s_k + b)), where b = log(w/K) is right if all items are alike; ``[targets]``"""
    prior = math.log(weight / sampled.shape[1])
    return -(weight * logsigmoid(positive + prior) + logsigmoid(-sampled - prior).sum(dim=1))


def sce_loss(
    outputs: Tensor, items: Tensor, target: Tensor, candidates: int, bias: Tensor | None = None, spread: float = 2.0
) -> Tensor:
    """Scalable cross-entropy, SCE (Mezentsev et al., RecSys 2024, arXiv 2409.18721): softmax over hard negatives.

    Random combinations of the outputs, n = ``spread`` √targets of them, are the centres of buckets. Each takes the n
    outputs and the ``candidates`` items nearest by dot product, and the loss of an output in a bucket is
    -log(exp s_+ / (exp s_+ + Σ exp s_k)) over that bucket's items without the target. An output that several buckets
    hold counts by the largest of its losses, one that none holds not at all.
    """
    n_buckets = min(len(target), max(1, round(spread * math.sqrt(len(target)))))
    candidates = min(candidates, len(items) - 1)
    with torch.no_grad():
        mix = torch.randn(n_buckets, len(target), dtype=outputs.dtype, device=outputs.device)
        centres = mix @ outputs
        rows = (centres @ outputs.T).topk(n_buckets, dim=1).indices
        blocks = centres.split(max(1, _most_logits(items) // len(items)))
        nearest = torch.cat([(some @ items[1:].T).topk(candidates, dim=1).indices + 1 for some in blocks])
    scores = outputs[rows] @ items[nearest].transpose(1, 2)
    if bias is not None:
        scores = scores + bias[nearest].unsqueeze(1)
    scores = scores.masked_fill(target[rows].unsqueeze(2) == nearest.unsqueeze(1), -torch.inf)
    own = _score(outputs, items, target, bias)[rows]
    losses = torch.cat([own.unsqueeze(2), scores], dim=2).logsumexp(dim=2) - own
    largest = torch.full_like(target, -torch.inf, dtype=losses.dtype)
    largest = largest.scatter_reduce(0, rows.flatten(), losses.flatten(), "amax")
    held = largest > -torch.inf
    if largest.device.type == "cpu":
        return largest[held].mean()
    return largest.masked_fill(~held, 0).sum() / held.sum()  # without a shape that the host would have to wait for


def _score(outputs: Tensor, items: Tensor, target: Tensor, bias: Tensor | None) -> Tensor:
    """``[targets]``"""
    score = (outputs * items[target]).sum(-1)
    return score if bias is None else score + bias[target]


def _scores_of_sampled(outputs: Tensor, items: Tensor, negatives: Tensor, bias: Tensor | None) -> Tensor:
    """``[targets, sampled]``"""
    if negatives.dim() == 1:
        scores = outputs @ items[negatives].T
    elif len(items) <= ALL_ITEMS_PER_NEGATIVE * negatives.shape[1] and len(outputs) * len(items) <= _most_logits(items):
        scores = (outputs @ items.T).gather(1, negatives)  # all scores take less time than each sampled item's vector
    else:
        scores = _OwnNegatives.apply(outputs, items, negatives)
    return scores if bias is None else scores + bias[negatives]


class _OwnNegatives(torch.autograd.Function):
    """Scores of a set of items for each target, without ``[targets, sampled, width]`` vectors of all at once."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        ctx.save_for_backward(outputs, items, negatives)
        scores = outputs.new_empty(negatives.shape)
        for part in _parts(negatives, items):
            torch.bmm(items[negatives[part]], outputs[part].unsqueeze(2), out=scores[part].unsqueeze(2))
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        outputs, items, negatives = ctx.saved_tensors
        of_outputs, of_items = torch.empty_like(outputs), torch.zeros_like(items)
        for part in _parts(negatives, items):
            of_scores = gradient[part].unsqueeze(2)
            of_outputs[part] = (items[negatives[part]].transpose(1, 2) @ of_scores).squeeze(2)
            of_vectors = of_scores * outputs[part].unsqueeze(1)
            of_items.index_add_(0, negatives[part].flatten(), of_vectors.flatten(0, 1))
        return of_outputs, of_items, None


def _parts(negatives: Tensor, items: Tensor) -> list[slice]:
    limit = CACHED_LOGITS if items.device.type == "cpu" else _most_logits(items)
    size = max(1, limit // (negatives.shape[1] * items.shape[1]))
    return [slice(begin, begin + size) for begin in range(0, len(negatives), size)]
