"""Longformer's attention (Beltagy et al., arXiv 2004.05150) for sequences of RECFORMER's length.

The sliding window is computed by Hugging Face in overlapping chunks, made for thousands of tokens and many global ones.
A sequence here has a few hundred tokens, at most 1,024, and of one only, ``<s>``, attention is global. Two forms give
the same output with less work: one dense product over a mask where the window covers most of the sequence, and blocks
of queries that each see ``<s>`` and the keys around them where it does not. The global token keeps its own projections.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from recbole_ext.dropout import cheap_dropout


def use_fast_attention(longformer: Any) -> None:
    """Let a Hugging Face ``LongformerModel`` attend densely or in blocks, with global attention on its first token.

    Same parameters, same outputs at every token that is not padding; nothing is padded to the window.
    """
    for layer in longformer.encoder.layer:
        attention = layer.attention.self
        attention.forward = _WindowAttention(attention)
    longformer._pad_to_window_size = _no_padding


class _WindowAttention:
    def __init__(self, attention: Any) -> None:
        self.attention = attention

    def __call__(self, hidden_states: Tensor, is_index_masked: Tensor | None = None, **_: Any) -> tuple[Tensor]:
        layer = self.attention
        assert is_index_masked is not None
        dropout = layer.dropout if layer.training else 0.0
        one_sided = layer.one_sided_attn_window_size
        seen = ~is_index_masked

        def heads(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2)

        queries, keys, values = (heads(project(hidden_states)) for project in (layer.query, layer.key, layer.value))
        if hidden_states.shape[1] > 6 * one_sided:
            local = _in_blocks(queries, keys, values, seen, one_sided, dropout)
        else:
            window = _window(hidden_states.shape[1], one_sided, seen.device)
            local = _attend(queries, keys, values, seen[:, None, None, :] & window, dropout)
        of_first = _of_first(layer, hidden_states, seen, dropout)
        return (torch.cat([of_first, local[:, :, 1:]], dim=2).transpose(1, 2).flatten(-2),)


def attention_of(layer: Any, hidden_states: Tensor, is_index_masked: Tensor) -> Tensor:
    """The attention maps that :func:`use_fast_attention` applies, ``[B, heads, L, L]``, for a layer's input."""

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2)

    seen = ~is_index_masked[:, None, None, :]
    window = _window(hidden_states.shape[1], layer.one_sided_attn_window_size, seen.device)
    local = _maps(heads(layer.query(hidden_states)), heads(layer.key(hidden_states)), seen & window)
    first = _maps(heads(layer.query_global(hidden_states[:, :1])), heads(layer.key_global(hidden_states)), seen)
    return torch.cat([first, local[:, :, 1:]], dim=2)


def _of_first(layer: Any, hidden: Tensor, seen: Tensor, dropout: float) -> Tensor:
    """Global attention of the first token, ``[B, heads, 1, head]``, without projecting every token for one query.

    With the projections of keys W and values V, ``q · (W h + w) = (Wᵀ q) · h + q · w``, and the weighted sum of
    ``V h + v`` is V times the weighted sum of ``h``, plus ``v`` times the weights' sum.
    """

    def per_head(rows: Tensor) -> Tensor:
        return rows.unflatten(0, (layer.num_heads, layer.head_dim))

    query = layer.query_global(hidden[:, 0]).unflatten(-1, (layer.num_heads, 1, layer.head_dim))
    query = query * layer.head_dim**-0.5
    towards = (query @ per_head(layer.key_global.weight)).squeeze(2)
    scores = towards @ hidden.transpose(-1, -2) + (query.squeeze(2) * per_head(layer.key_global.bias)).sum(-1, True)
    weights = scores.masked_fill(~seen[:, None], float("-inf")).softmax(-1)
    weights = cheap_dropout(weights, dropout) if dropout else weights
    read = (weights @ hidden).unsqueeze(2)
    offset = weights.sum(-1, True) * per_head(layer.value_global.bias)
    return read @ per_head(layer.value_global.weight).transpose(-1, -2) + offset.unsqueeze(2)


def _in_blocks(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor, one_sided: int, dropout: float) -> Tensor:
    """Attention of every token to its window and the first token, ``[B, heads, L, head]``.

    Keys are cut into chunks of ``one_sided``; a block of two chunks sees one more on either side.
    """
    batch, n_heads, length, _ = queries.shape
    n_blocks = -(-length // (2 * one_sided))
    missing = n_blocks * 2 * one_sided - length

    def blocks(rows: Tensor) -> Tensor:
        return pad(rows, (0, 0, 0, missing)).unflatten(2, (n_blocks, 2 * one_sided))

    def around(rows: Tensor) -> Tensor:
        chunks = pad(rows, (0, 0, one_sided, missing + one_sided)).unflatten(2, (-1, one_sided))
        near = [chunks[:, :, offset : offset + 2 * n_blocks - 1 : 2] for offset in range(4)]
        return torch.cat([rows[:, :, None, :1].expand(-1, -1, n_blocks, -1, -1), *near], dim=3)

    def one_batch(rows: Tensor) -> Tensor:
        return rows.transpose(1, 2).flatten(0, 1)

    seen_near = seen.clone()
    seen_near[:, 0] = False  # the first token stands before every block's keys already
    seen_here = around(seen_near[:, None, :, None]).squeeze(-1)
    seen_here[..., 0] = True
    query = torch.arange(2 * one_sided, device=seen.device).unsqueeze(-1)
    key = torch.arange(4 * one_sided, device=seen.device) - one_sided
    window = pad((key - query).abs() <= one_sided, (1, 0), value=True)
    attended = _attend(
        one_batch(blocks(queries)),
        one_batch(around(keys)),
        one_batch(around(values)),
        one_batch(seen_here.unsqueeze(3)) & window,
        dropout,
    )
    return attended.unflatten(0, (batch, n_blocks)).transpose(1, 2).flatten(2, 3)[:, :, :length]


def _attend(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor, dropout: float) -> Tensor:
    # On a CPU, torch's fused kernel has no dropout, and what it falls back to draws the masks one by one.
    if dropout and queries.device.type == "cpu":
        return cheap_dropout(_maps(queries, keys, seen), dropout) @ values
    return scaled_dot_product_attention(queries, keys, values, attn_mask=seen, dropout_p=dropout)


def _maps(queries: Tensor, keys: Tensor, seen: Tensor) -> Tensor:
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return scores.masked_fill(~seen, float("-inf")).softmax(-1)


def _window(length: int, one_sided: int, device: torch.device) -> Tensor:
    """Which keys a token sees beside the padding mask, ``[length, length]``: its window and the first token."""
    position = torch.arange(length, device=device)
    near = (position - position.unsqueeze(-1)).abs() <= one_sided
    near[:, 0] = True
    return near


def _no_padding(
    input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any, inputs_embeds: Any, pad_token_id: int
) -> tuple[Any, ...]:
    return 0, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
