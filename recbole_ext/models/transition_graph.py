"""Item-transition graph without training: Han et al., "An Embarrassingly Simple Graph Heuristic Reveals
Shortcut-Solvable Benchmarks for Sequential Recommendation", 2026 (arXiv 2605.07125); its TGH-1.

An edge a → b for every two neighbours in a training sequence, counted c(a, b). Around the user's last item a, ring h
holds the items that h edges lead to and no fewer. Within a ring items stand by::

    cos(v_a, v_i) + α log(1 + c(a, i)) / max_j log(1 + c(a, j))        the second part in ring 1 alone, α = 0.5

and the list takes the best 7 of ring 1, then 2 of ring 2, then 1 of ring 3. A ring with fewer items than its part gives
the places to what earlier rings have left. After these ten, what is left of the rings follows, ring by ring, then all
other items by cosine, the last item itself at the very end (unless it follows itself in training).

Without ``item_embedding`` the items of ring h stand by the probability that h steps of a random walk over the counted
edges lead from a to them, those in no ring in random order: the graph alone.

Left out: TGH-2, which also starts from the second-last item, and a mean over several last items for v_a. Differs: v is
the store's vector, as given, where the paper takes FLAN-T5's; a list that the rings can't fill is filled by cosine,
where the authors' code does so on request and else at random. Of the paper only the abstract could be read: rules and
constants are those of the authors' public code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, diags
from torch.nn.functional import pad

from recbole_ext.attach import item_vectors
from recbole_ext.errors import ConfigurationError
from recbole_ext.models.untrained import Untrained, UntrainedTrainer, last_items, transitions
from recbole_ext.store.transforms import directions

SCORES_AT_ONCE = 2**23


class TransitionGraph(Untrained):
    """The graph heuristic; keys ``ring_places``, how many of each ring come first, and ``edge_weight``, α.

    Raises:
        AttachError, StoreError: a store is named and does not fit; see :func:`recbole_ext.attach.item_vectors`.
        ConfigurationError: ``ring_places`` is no list of counts, or ``edge_weight`` no number from 0.
    """

    reads_item_vectors = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.ring_places, self.edge_weight = _ring_places(config), _edge_weight(config)
        before, after = transitions(dataset)
        counts = coo_matrix((np.ones(len(before)), (before, after)), shape=(self.n_items, self.n_items)).tocsr()
        self.walk = _rows_divided_by(counts, counts.sum(axis=1))
        weights = counts.log1p()
        self.edges = _rows_divided_by(weights, weights.max(axis=1).todense())
        self.directions: torch.Tensor | None = None
        if config["item_embedding"]:
            vectors, self.item_vector_coverage = item_vectors(dataset, config)
            self.directions = pad(directions(vectors), (0, 0, 1, 0))

    def score(self, items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        at_once = max(1, SCORES_AT_ONCE // self.n_items)
        parts = last_items(items, length).cpu().split(at_once)
        return torch.cat([-places(*self.rings(last), self.ring_places).float() for last in parts]).to(items.device)

    def rings(self, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What orders the items within their rings, float ``[batch, n_items]``, and each item's ring, from 0.

        The ring after the last one holds the items that are in none.

        Args:
            last: the histories' last items, ``[batch]``.
        """
        rows, own = last.numpy(), (torch.arange(len(last)), last)
        outside = len(self.ring_places)
        ring = torch.full((len(last), self.n_items), outside)
        within = (1e-9 * self.shuffled.cpu() / self.n_items).double().repeat(len(last), 1)
        if self.directions is not None:
            within += self.directions[last] @ self.directions.T
            within += self.edge_weight * torch.from_numpy(self.edges[rows].toarray())
        walked = self.walk[rows]
        for number in range(outside):
            reached = torch.from_numpy(walked.toarray())
            here = (reached > 0) & (ring == outside)
            if number:
                here[own] = False
            if self.directions is None:
                within = torch.where(here, within + reached, within)
            ring[here] = number
            walked = walked @ self.walk
        within[own] = torch.where(ring[own] == outside, -torch.inf, within[own])
        return within, ring


TransitionGraphTrainer = UntrainedTrainer


def places(within: torch.Tensor, ring: torch.Tensor, ring_places: list[int]) -> torch.Tensor:
    """The place of each item in the list, from 0, ``[batch, items]``.

    Args:
        within: orders the items of a ring, the largest first, ``[batch, items]``.
        ring: each item's ring, from 0, ``[batch, items]``; ``len(ring_places)`` for none.
        ring_places: how many of each ring come first.
    """
    apart = within.masked_fill(within.isinf(), 0).abs().max() * 2 + 1
    order = (within - ring * apart).argsort(dim=1, descending=True)
    ring = ring.gather(1, order)  # from here on in the order of rings, and within a ring
    left = torch.zeros_like(ring, dtype=torch.bool)
    blocks = []
    for number, wanted in enumerate(ring_places):
        here = ring == number
        missing = (wanted - here.sum(dim=1, keepdim=True)).clamp_min(0)
        filling = left & (left.cumsum(dim=1) <= missing)
        chosen = here & (here.cumsum(dim=1) <= wanted - filling.sum(dim=1, keepdim=True))
        blocks += [filling, chosen]
        left = (left | here) & ~filling & ~chosen
    blocks += [left, ring == len(ring_places)]
    place, before = torch.zeros_like(ring), torch.zeros_like(ring[:, :1])
    for block in blocks:
        place += (block.cumsum(dim=1) - 1 + before) * block
        before = before + block.sum(dim=1, keepdim=True)
    return torch.empty_like(place).scatter_(1, order, place)


def _rows_divided_by(matrix: csr_matrix, by: Any) -> csr_matrix:
    """Rows without any entry stay empty."""
    divisor = np.asarray(by, dtype=float).ravel()
    return (diags(1 / np.where(divisor == 0, 1.0, divisor)) @ matrix).tocsr()


def _ring_places(config: Any) -> list[int]:
    value = config["ring_places"]
    whole = isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value)
    if not whole or not value:
        raise ConfigurationError(f"ring_places: {value!r} is not a list of whole numbers from 0, such as [7, 2, 1].")
    return value


def _edge_weight(config: Any) -> float:
    value = config["edge_weight"]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ConfigurationError(f"edge_weight: {value!r} is not a number from 0.")
    return float(value)
