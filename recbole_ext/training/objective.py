"""RecBole's own loss, taken at all targets of a row at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.layers import TransformerEncoder

from recbole_ext.training.rows import TARGET_POSITION, TARGET_ROW
from recbole_ext.training.transformer import encode_at


def row_loss(model: Any, interaction: Interaction) -> torch.Tensor:
    """The model's ``calculate_loss`` over every target of the rows of ``interaction``.

    RecBole's causal models end their ``forward`` with ``gather_indexes``, which picks one position per sequence.
    Here it picks every target's position instead, ``[targets, width]``, and the model's own ``calculate_loss``
    goes on from there against ``item_id`` and ``neg_item_id``, ``[targets]``: the same mean over the same samples.
    """
    with gathering(model, interaction[TARGET_ROW], interaction[TARGET_POSITION]):
        return model.calculate_loss(interaction)


@contextmanager
def gathering(model: Any, row: torch.Tensor, position: torch.Tensor) -> Iterator[None]:
    """Let the model's ``forward`` return its outputs at ``(row, position)``, ``[targets, width]``.

    A model with RecBole's ``TransformerEncoder`` computes the encoder's last layer at those positions alone.
    """
    encoder: Any = getattr(model, "trm_encoder", None)
    if type(encoder) is TransformerEncoder:

        def forward(hidden: torch.Tensor, mask: torch.Tensor, **_: Any) -> list[torch.Tensor]:
            return [encode_at(encoder, hidden, row, position)]

        encoder.forward = forward
        model.gather_indexes = lambda output, _: output
    else:
        encoder = None
        model.gather_indexes = lambda output, _: output[row, position]
    try:
        yield
    finally:
        del model.gather_indexes
        if encoder is not None:
            del encoder.forward
