"""Longformer's attention (Beltagy et al., arXiv 2004.05150) as one dense product, for sequences of RECFORMER's length.

The sliding window is computed by Hugging Face in overlapping chunks, which pays off for thousands of tokens. A
sequence here has a few hundred, at most 1,024, and of one token only, ``<s>``, attention is global. A dense product
over a mask gives the same output with less work: where the window covers the whole sequence the mask is padding alone,
elsewhere it is the window's band. The global token keeps its own projections.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention


def use_dense_attention(longformer: Any) -> None:
    """Let a Hugging Face ``LongformerModel`` attend densely, with global attention on its first token.

    Same parameters, same outputs at every token that is not padding; nothing is padded to the window.
    """
    for layer in longformer.encoder.layer:
        attention = layer.attention.self
        attention.forward = _DenseAttention(attention)
    longformer._pad_to_window_size = _no_padding


class _DenseAttention:
    def __init__(self, attention: Any) -> None:
        self.attention = attention

    def __call__(
        self, hidden_states: torch.Tensor, is_index_masked: torch.Tensor | None = None, **_: Any
    ) -> tuple[torch.Tensor]:
        layer = self.attention
        assert is_index_masked is not None
        dropout = layer.dropout if layer.training else 0.0
        seen = ~is_index_masked[:, None, None, :]

        def heads(projected: torch.Tensor) -> torch.Tensor:
            return projected.unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2)

        local = scaled_dot_product_attention(
            heads(layer.query(hidden_states)),
            heads(layer.key(hidden_states)),
            heads(layer.value(hidden_states)),
            attn_mask=seen & _window(hidden_states.shape[1], layer.one_sided_attn_window_size, seen.device),
            dropout_p=dropout,
        )
        of_first = scaled_dot_product_attention(
            heads(layer.query_global(hidden_states[:, :1])),
            heads(layer.key_global(hidden_states)),
            heads(layer.value_global(hidden_states)),
            attn_mask=seen,
            dropout_p=dropout,
        )
        return (torch.cat([of_first, local[:, :, 1:]], dim=2).transpose(1, 2).flatten(-2),)


def attention_of(layer: Any, hidden_states: torch.Tensor, is_index_masked: torch.Tensor) -> torch.Tensor:
    """The attention maps that :func:`use_dense_attention` applies, ``[B, heads, L, L]``, for a layer's input."""

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2)

    def maps(queries: torch.Tensor, keys: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        scores = queries @ keys.transpose(-1, -2) / layer.head_dim**0.5
        return scores.masked_fill(~seen, float("-inf")).softmax(-1)

    seen = ~is_index_masked[:, None, None, :]
    window = _window(hidden_states.shape[1], layer.one_sided_attn_window_size, seen.device)
    local = maps(heads(layer.query(hidden_states)), heads(layer.key(hidden_states)), seen & window)
    first = maps(heads(layer.query_global(hidden_states[:, :1])), heads(layer.key_global(hidden_states)), seen)
    return torch.cat([first, local[:, :, 1:]], dim=2)


def _window(length: int, one_sided: int, device: torch.device) -> torch.Tensor:
    """Which keys a token sees beside the padding mask, ``[length, length]``: its window and the first token."""
    position = torch.arange(length, device=device)
    near = (position - position.unsqueeze(-1)).abs() <= one_sided
    near[:, 0] = True
    return near


def _no_padding(
    input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any, inputs_embeds: Any, pad_token_id: int
) -> tuple[Any, ...]:
    return 0, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
