"""The contrast of RECFORMER's pre-training (its equation 7) and what makes it right for real sequences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

UNIFORM = 0
"""Row of :func:`log_frequencies` that is no item's."""


def in_batch_contrast(
    queries: Tensor,
    items: Tensor,
    item_rows: Tensor,
    temperature: float,
    log_frequency: Tensor | None = None,
    spared: Callable[[Tensor], Tensor] | None = None,
    more: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each query's own item against the batch's other items, cosine over ``temperature``.

    The batch's other occurrences of the very item that a query is paired with are not negatives. With several
    processes, each one's items are negatives for all.

    Args:
        queries, items: pooled vectors, ``[B, D]``; row ``b`` belongs to row ``b``.
        item_rows: which item each row of ``items`` is, ``[B]``.
        log_frequency: of every item, ``[items + 1]``, see :func:`log_frequencies`; it is taken off the item's logit,
            because frequent items are negatives more often (Yi et al., RecSys 2019, equation 3).
        spared: which of some items, ``[all items]``, are no negatives of which query, bool ``[B, all items]``.
        more: vectors ``[N, D]`` of items that are negatives beside the batch's, and which items they are, ``[N]``; they
            are drawn uniformly, however frequent. Of several processes, each has its own.

    Returns:
        The mean loss, and how many queries ranked their own item first, both scalars.
    """
    own = torch.arange(len(queries), device=queries.device)
    all_items, all_rows = items, item_rows
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        from torch.distributed.nn.functional import all_gather

        all_items, all_rows = torch.cat(all_gather(items)), torch.cat(all_gather(item_rows))
        own = own + dist.get_rank() * len(queries)
    drawn_as = all_rows
    if more is not None:
        all_items, all_rows = torch.cat([all_items, more[0]]), torch.cat([all_rows, more[1]])
        drawn_as = torch.cat([drawn_as, torch.full_like(more[1], UNIFORM)])
    with torch.autocast(queries.device.type, enabled=False):
        similarity = normalize(queries.float(), dim=-1) @ normalize(all_items.float(), dim=-1).T / temperature
    if log_frequency is not None:
        similarity = similarity - log_frequency[drawn_as]
    same = item_rows.unsqueeze(-1) == all_rows
    if spared is not None:
        same = same | spared(all_rows)
    same[torch.arange(len(queries), device=queries.device), own] = False
    similarity = similarity.masked_fill(same, float("-inf"))
    return cross_entropy(similarity, own), (similarity.argmax(-1) == own).sum()


def log_frequencies(sequences: list[np.ndarray], n_items: int) -> Tensor:
    """Logarithm of each item's part of all places in ``sequences``, ``[n_items + 1]``; rows count from 1.

    An item that stands nowhere counts as once. Row ``UNIFORM`` is that of an item drawn from all alike.
    """
    counts = np.bincount(np.concatenate(sequences), minlength=n_items + 1)[1:].clip(min=1)
    return torch.from_numpy(np.log(np.concatenate([[1 / n_items], counts / counts.sum()]))).float()
