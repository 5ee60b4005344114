"""A batch whose sequences differ in length, as parts that hardly pad."""

from __future__ import annotations

from typing import TypeAlias

import torch

from recbole_ext.recformer.item_tokens import Batch

SIMILAR = 0.8  # of the longest sequence of a part

Parts: TypeAlias = list[tuple[torch.Tensor, Batch]]
"""The rows of a batch that are in each part, and the part."""


def parts_by_length(batch: Batch, least_tokens: int) -> Parts:
    """The parts of a batch, longest first, each cut to its longest sequence.

    A part ends before a sequence shorter than ``SIMILAR`` of its longest, once it has ``least_tokens`` tokens with
    padding: fewer are not worth a forward pass of their own. Every row is in one part.

    Make parts where the batch is made, on the host: of a batch on a GPU the lengths would have to be waited for.

    Args:
        batch: from :meth:`ItemTokens.batch`, with any further fields of the same shape.
    """
    lengths, order = batch["attention_mask"].sum(1).sort(descending=True, stable=True)
    lengths_list, begin = lengths.tolist(), 0
    parts = []
    for end in range(1, len(order) + 1):
        longest = lengths_list[begin]
        is_last = end == len(order)
        if is_last or ((end - begin) * longest >= least_tokens and lengths_list[end] < SIMILAR * longest):
            rows = order[begin:end]
            parts.append((rows, {name: field[rows, :longest] for name, field in batch.items()}))
            begin = end
    return parts
