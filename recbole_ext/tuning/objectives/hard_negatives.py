"""Hard negatives: items whose texts are alike and that behaviour does not put side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from recbole_ext.tuning.settings import NEAREST

ITEMS_OF_A_BLOCK = 1024


def nearest_strangers(
    vectors_of: Callable[[np.ndarray], Tensor], domains: Sequence[range], pairs: np.ndarray, texts: np.ndarray
) -> np.ndarray:
    """For each item the nearest others of its domain by cosine, centred, without those that are a pair with it and
    those with its very text, which nothing could tell from it.

    Args:
        vectors_of: the vectors of some items, ``[items, width]``.
        domains: the items of each domain; all domains together are the items from 1 on.
        pairs: known pairs of items, in both directions, ``[pairs, 2]``.
        texts: a number for every item, ``[items + 1]``, the same for those with the same text.

    Returns:
        Items, ``[items + 1, NEAREST]``, 0 where a domain has no more of them; row 0 is 0.
    """
    nearest = np.zeros((domains[-1].stop, NEAREST), dtype=np.int64)
    order = np.argsort(pairs[:, 0], kind="stable")
    first, second = pairs[order].T
    for items in domains:
        with torch.no_grad():
            vectors = vectors_of(np.arange(items.start, items.stop)).float()
        vectors = normalize(vectors - vectors.mean(dim=0), dim=-1)
        for begin in range(0, len(items), ITEMS_OF_A_BLOCK):
            cosine = vectors[begin : begin + ITEMS_OF_A_BLOCK] @ vectors.T
            own = torch.arange(len(cosine), device=cosine.device)
            number = torch.from_numpy(texts[items.start : items.stop]).to(cosine.device)
            cosine[number[begin + own].unsqueeze(-1) == number] = float("-inf")  # itself among them
            low, high = np.searchsorted(first, [items.start + begin, items.start + begin + len(cosine)])
            row, column = (torch.from_numpy(of[low:high] - items.start).to(cosine.device) for of in (first, second))
            cosine[row - begin, column] = float("-inf")
            found = cosine.topk(min(NEAREST, len(items)), dim=-1)
            chosen = torch.where(found.values.isneginf(), 0, items.start + found.indices).cpu().numpy()
            nearest[items.start + begin : items.start + begin + len(cosine), : chosen.shape[1]] = chosen
    return nearest
