"""UniSRec: Hou et al., "Towards Universal Sequence Representation Learning for Recommender Systems", KDD 2022
(arXiv 2206.05941).

An item's text vector x is whitened with learned parameters by G experts, which a gate mixes::

    x_k = (x - b_k) W_k        v = Σ_k g_k x_k        g = softmax(x U + ε · softplus(x N)),  ε ~ N(0, 1) in training

SASRec's transformer reads v (``UniSRec``: text only, the paper's inductive setting) or v + e with an ID embedding e per
item (``UniSRecID``: text and ID, its transductive setting), and the next item is scored by the cosine over τ = 0.07.

Left out: pre-training on other domains with its two contrastive losses, so that all parameters start at random and are
trained on the target alone (the paper freezes the transformer that it pre-trained). Differs from the public code: an
item's dropout and gate noise are drawn once per forward pass (a step's batch goes through in one part or several; each
draws anew) instead of once per occurrence, because the adaptor runs once per item; on ``Office`` the public code's way
took half a minute for one batch on two cores.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import nn
from torch.nn.functional import linear, softplus

from recbole_ext.attach.parametrizations import Frozen
from recbole_ext.dropout import CheapDropout
from recbole_ext.models.item_vectors import FromItemVectors


class ParametricWhitening(nn.Module):
    """One expert: ``(x - b) W``, with dropout on x; ``[items, dim]`` to ``[items, width]``."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = CheapDropout(dropout)  # half of an epoch with torch's
        self.shift = nn.Parameter(torch.zeros(dim))
        self.project = nn.Linear(dim, width, bias=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        # As x W - b W, the shift learns without a gradient for every item's vector.
        weight = self.project.weight
        return linear(self.dropout(vectors), weight, -(weight @ self.shift))


class MixtureOfExperts(Frozen):
    """The adaptor as a parametrization: item rows are the gated mixture of the experts' outputs.

    Args:
        vectors: ``[n_items - 1, dim]``.
        width: the model's.
        n_experts: G.
        dropout: on the experts' inputs.
    """

    def __init__(self, vectors: torch.Tensor, width: int, n_experts: int, dropout: float) -> None:
        super().__init__(vectors)
        dim = vectors.shape[1]
        self.experts = nn.ModuleList(ParametricWhitening(dim, width, dropout) for _ in range(n_experts))
        self.gate = nn.Parameter(torch.zeros(dim, n_experts))
        self.noise = nn.Parameter(torch.zeros(dim, n_experts))

    def rows_of(self, vectors: torch.Tensor) -> torch.Tensor:
        logits = vectors @ self.gate
        if self.training:
            # The constant keeps some noise where softplus has learned to give none, as in the public code.
            logits = logits + torch.randn_like(logits) * (softplus(vectors @ self.noise) + 0.01)
        gates = logits.softmax(dim=-1)
        return sum(gates[:, k : k + 1] * expert(vectors) for k, expert in enumerate(self.experts))


class MixtureAndIds(MixtureOfExperts):
    """The same plus the model's own item embedding, row by row: ``v + e``."""

    def forward(self, own: torch.Tensor) -> torch.Tensor:
        return own + nn.functional.pad(self.item_rows(), (0, 0, 1, len(own) - 1 - len(self.vectors)))

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return weight


class UniSRec(FromItemVectors, SASRec):
    """UniSRec on text alone; keys ``n_experts``, ``adaptor_dropout_prob``, ``temperature`` and SASRec's."""

    mixture = MixtureOfExperts

    def item_function(self, vectors: torch.Tensor, config: Any) -> Frozen:
        function = self.mixture(vectors, self.hidden_size, config["n_experts"], config["adaptor_dropout_prob"])
        return function.apply(self._init_weights)


class UniSRecID(UniSRec):
    """UniSRec on text and ID."""

    mixture = MixtureAndIds
