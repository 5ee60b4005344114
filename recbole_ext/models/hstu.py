"""HSTU: Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
Recommendations", ICML 2024 (arXiv 2402.17152).

A layer weighs earlier items by a pointwise function instead of a softmax, so that how strongly a history speaks is
kept, and gates what it read (norm without learned scale or shift)::

    U, V, Q, K = silu(norm(x) W)        A = silu(Q Kᵀ + p) / N        x ← x + (norm(A V) · U) W_o + b_o

p is a learned bias by how many positions two items are apart, N the maximum length of a history. Items enter with the
factor √width, and the next one is scored by the cosine over τ = 0.05. The loss is a sampled softmax over 128 uniform
negatives for each target, without a correction for the sampling, as in the authors' code for MovieLens.

Left out: the bias by the time between two items (it would need the time of the item to be predicted for what the
authors' code does), actions as tokens of their own, stochastic length, and ranking; what is left is the paper's
sequential setting without times. Differs: positions count from the history's first item in rows as in prefixes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout, layer_norm, silu

from recbole_ext.models.causal import CausalRecommender

EPSILON = 1e-6


class TransductionUnit(nn.Module):
    """One causal layer of HSTU.

    Args:
        maximum: items of the longest history, N.
        dropout: on the gated output.
    """

    def __init__(self, width: int, n_heads: int, maximum: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.maximum, self.dropout = n_heads, maximum, dropout
        self.read, self.write = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, width)
        self.by_distance = nn.Parameter(torch.randn(maximum) * 0.02)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        width, length = hidden.shape[-1], hidden.shape[1]
        gate, *parts = silu(self.read(layer_norm(hidden, [width], eps=EPSILON))).chunk(4, dim=-1)
        values, queries, keys = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts)
        position = torch.arange(length, device=hidden.device)
        distance = position.unsqueeze(1) - position
        bias = self.by_distance[distance.clamp_min(0)]
        weights = silu(queries @ keys.transpose(2, 3) + bias) / self.maximum
        weights = weights.masked_fill(distance < 0, 0.0)
        read = layer_norm((weights @ values).transpose(1, 2).flatten(-2), [width], eps=EPSILON)
        return hidden + self.write(dropout(read * gate, self.dropout, self.training))


class HSTU(CausalRecommender):
    """HSTU without times; keys ``n_layers``, ``n_heads``, ``hidden_size``, ``hidden_dropout_prob``, ``temperature``."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.input_scale = self.hidden_size**0.5
        nn.init.normal_(self.position_embedding.weight, std=self.hidden_size**-0.5)
        for layer in self.trm_encoder.layer:
            nn.init.xavier_uniform_(layer.write.weight)

    def layer(self, config: Any) -> nn.Module:
        width, heads = self.hidden_size, config["n_heads"]
        return TransductionUnit(width, heads, self.max_seq_length, config["hidden_dropout_prob"])
