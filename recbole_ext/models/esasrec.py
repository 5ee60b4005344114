"""eSASRec: Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion", RecSys 2025
(arXiv 2508.06450).

SASRec's objective (the next item at every position), the layers of LiGR (Borisyuk et al., arXiv 2502.03417) and a
sampled softmax. A LiGR layer normalises before, and gates what is added by the layer's input x::

    x ← x + σ(x W_a + b_a) · attention(norm(x))
    x ← x + σ(x W_f + b_f) · (silu(n W_1) · (n W_3)) W_2        n = norm(x)

The next item is scored by the dot product with the last layer's output, which is not normalised. The loss is
-log(exp s_+ / (exp s_+ + Σ exp s_k)) over 256 uniform negatives for each target, without a correction for the sampling
(``training_loss: sampled_softmax`` with these keys in the model's YAML).

Differs from the authors' code: positions count from the history's first item, not from its last, so that a row is all
its prefixes exactly; weights begin with RecBole's standard deviation, not with Xavier's. Left out: a negative that is
the target itself (there it stays in the sum).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

from recbole_ext.models.causal import CausalRecommender


class LiGRLayer(nn.Module):
    """Causal attention and a gated feed-forward network, both behind a gate of their input.

    Args:
        inner: width inside the feed-forward network.
        dropout: on what the gates let through and inside the feed-forward network.
    """

    def __init__(self, width: int, n_heads: int, inner: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.n_heads, self.attention_dropout = n_heads, attention_dropout
        self.dropout = nn.Dropout(dropout)
        self.attention_norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention_gate, self.inner_gate = nn.Linear(width, width), nn.Linear(width, width)
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        attended = self.dropout(self.attend(self.attention_norm(hidden)))
        hidden = hidden + torch.sigmoid(self.attention_gate(hidden)) * attended
        gate, value = self.up(self.inner_norm(hidden)).chunk(2, dim=-1)
        inner = self.dropout(self.down(self.dropout(silu(gate) * value)))
        return hidden + torch.sigmoid(self.inner_gate(hidden)) * inner

    def attend(self, hidden: torch.Tensor) -> torch.Tensor:
        queries, keys, values = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in self.read(hidden).chunk(3, dim=-1)
        )
        dropout = self.attention_dropout if self.training else 0.0
        context = scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, is_causal=True)
        return self.write(context.transpose(1, 2).flatten(-2))


class ESASRec(CausalRecommender):
    """eSASRec; keys ``n_layers``, ``n_heads``, ``hidden_size``, ``inner_size`` and both dropouts as SASRec's."""

    def layer(self, config: Any) -> nn.Module:
        dropouts = config["hidden_dropout_prob"], config["attn_dropout_prob"]
        return LiGRLayer(self.hidden_size, config["n_heads"], config["inner_size"], *dropouts)
