"""RecBole's transformer blocks computed with fused kernels, and only where their output is read.

The modules, their parameters and their function stay RecBole's; only how it is computed changes: exact GELU in one
kernel instead of four, ``scaled_dot_product_attention`` instead of explicit scores, and a last layer that computes
queries and feed-forward at the predicted positions alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.model.layers import FeedForward, MultiHeadAttention, TransformerEncoder
from torch.nn.functional import gelu, scaled_dot_product_attention


def fuse_kernels(model: torch.nn.Module) -> None:
    """Let every RecBole transformer block in ``model`` use fused kernels; same function, same parameters."""
    for module in model.modules():
        if type(module) is FeedForward and module.intermediate_act_fn == module.gelu:
            module.intermediate_act_fn = gelu
        elif type(module) is MultiHeadAttention:
            module.forward = _self_attention(module)


@contextmanager
def recboles_attention(model: torch.nn.Module) -> Iterator[None]:
    """Let attention be computed by RecBole's own ``forward`` for the block, which calls the layers one by one.

    A fused ``forward`` stays bound to its own block in a copy of the model, so that hooks on the copy see nothing.
    """
    blocks = [module for module in model.modules() if type(module) is MultiHeadAttention]
    fused = {block: vars(block).pop("forward") for block in blocks if "forward" in vars(block)}
    try:
        yield
    finally:
        for block, forward in fused.items():
            block.forward = forward


def _self_attention(layer: Any) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def forward(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return attend(layer, hidden, hidden, mask=mask)

    return forward


def attend(
    layer: Any,
    queries: torch.Tensor,
    hidden: torch.Tensor,
    mask: torch.Tensor | None = None,
    is_causal: bool = False,
) -> torch.Tensor:
    """RecBole's ``MultiHeadAttention`` of ``queries``, ``[B, Q, D]``, over ``hidden``, ``[B, L, D]``."""

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (layer.num_attention_heads, -1)).transpose(1, 2)

    dropout = layer.attn_dropout.p if layer.training else 0.0
    context = scaled_dot_product_attention(
        heads(layer.query(queries)),
        heads(layer.key(hidden)),
        heads(layer.value(hidden)),
        attn_mask=mask if mask is None or mask.dtype == torch.bool else mask.to(queries.dtype),
        dropout_p=dropout,
        is_causal=is_causal,
    )
    output = layer.out_dropout(layer.dense(context.transpose(1, 2).flatten(-2)))
    return layer.LayerNorm(output + queries)


def encode_at(
    encoder: TransformerEncoder,
    hidden: torch.Tensor,
    row: torch.Tensor,
    position: torch.Tensor,
    mask: torch.Tensor | None = None,
    few: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Output of RecBole's encoder at ``(row, position)``, ``[targets, D]``, for ``hidden``, ``[B, L, D]``.

    Where few positions of a row are read (one for a sliding window, the masked ones for BERT4Rec), the last layer
    computes only their queries.

    Args:
        row, position: ``[targets]``.
        mask: RecBole's additive mask over the keys, ``[B, 1, 1, L]``, for bidirectional attention; ``None`` for causal
            attention over right-padded rows, which needs no other mask: padding stands right of what is read.
        few: the positions of each row that are read, ``[B, most]``, and which of them each target's is, ``[targets]``,
            where they are few; see :func:`recbole_ext.training.rows.target_fields`.
    """
    *lower, last = encoder.layer
    causal = mask is None
    for layer in lower:
        attended = attend(layer.multi_head_attention, hidden, hidden, mask=mask, is_causal=causal)
        hidden = layer.feed_forward(attended)
    if few is None:
        attended = attend(last.multi_head_attention, hidden, hidden, mask=mask, is_causal=causal)
        return last.feed_forward(attended[row, position])
    read, slot = few
    queries = hidden.gather(1, read.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
    if mask is None:
        keys = torch.arange(hidden.shape[1], device=row.device)
        mask = (keys <= read.unsqueeze(-1)).unsqueeze(1)
    attended = attend(last.multi_head_attention, queries, hidden, mask=mask)
    return last.feed_forward(attended[row, slot])
