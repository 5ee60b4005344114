"""The contrast of RECFORMER's pre-training (its equation 7) and what makes it right for real sequences."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def in_batch_contrast(queries: Tensor, items: Tensor, item_rows: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each query's own item against the batch's other items, cosine over ``temperature``.

    The batch's other occurrences of the very item that a query is paired with are not negatives. With several
    processes, each one's items are negatives for all.

    Args:
        queries, items: pooled vectors, ``[B, D]``; row ``b`` belongs to row ``b``.
        item_rows: which item each row of ``items`` is, ``[B]``.

    Returns:
        The mean loss, and how many queries ranked their own item first, both scalars.
    """
    own = torch.arange(len(queries), device=queries.device)
    all_items, all_rows = items, item_rows
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        from torch.distributed.nn.functional import all_gather

        all_items, all_rows = torch.cat(all_gather(items)), torch.cat(all_gather(item_rows))
        own = own + dist.get_rank() * len(queries)
    similarity = normalize(queries.float(), dim=-1) @ normalize(all_items.float(), dim=-1).T / temperature
    same = item_rows.unsqueeze(-1) == all_rows
    same[torch.arange(len(queries)), own] = False
    similarity = similarity.masked_fill(same, float("-inf"))
    return cross_entropy(similarity, own), (similarity.argmax(-1) == own).sum()
