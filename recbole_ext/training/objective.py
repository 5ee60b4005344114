"""What is minimised over the targets of rows: RecBole's own loss, or one that a large catalogue can afford."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.layers import TransformerEncoder
from torch.nn.utils import parametrize

from recbole_ext.training.losses import DotProductLoss
from recbole_ext.training.new_items import n_trained_items
from recbole_ext.training.rows import READ_POSITIONS, TARGET_POSITION, TARGET_ROW, TARGET_SLOT
from recbole_ext.training.transformer import encode_at

LossOfRows = Callable[[Any, Interaction], torch.Tensor]


def row_loss(model: Any, interaction: Interaction) -> torch.Tensor:
    """The model's ``calculate_loss`` over every target of the rows of ``interaction``.

    RecBole's causal models end their ``forward`` with ``gather_indexes``, which picks one position per sequence.
    Here it picks every target's position instead, ``[targets, width]``, and the model's own ``calculate_loss``
    goes on from there against ``item_id`` and ``neg_item_id``, ``[targets]``: the same mean over the same samples.
    """
    with gathering(model, interaction):
        return model.calculate_loss(interaction)


def loss_at_targets(loss: DotProductLoss) -> LossOfRows:
    """``loss`` of a model that scores by the dot product with its items, at every target of its rows."""

    def of_rows(model: Any, interaction: Interaction) -> torch.Tensor:
        outputs = outputs_at_targets(model, interaction)
        return loss(outputs, trained_items(model), interaction[model.ITEM_ID], output_bias(model))

    return of_rows


def replace_loss(model: Any, loss: DotProductLoss) -> None:
    """Let ``loss``, which reads outputs and targets alone, be the model's ``calculate_loss`` of RecBole's samples."""

    def calculate_loss(interaction: Interaction) -> torch.Tensor:
        with parametrize.cached():
            outputs = model.forward(interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN])
            return loss(outputs, trained_items(model), interaction[model.POS_ITEM_ID], output_bias(model))

    model.calculate_loss = calculate_loss


def output_bias(model: Any) -> torch.Tensor | None:
    """What the model adds to each trained item's score, ``[trained]`` (BERT4Rec); ``None`` for nothing."""
    bias = getattr(model, "output_bias", None)
    return None if bias is None else bias[: n_trained_items(model)]


def scored_items(model: Any) -> torch.Tensor:
    """The matrix with which the model multiplies its outputs, ``[n_items, width]``: by default its item embedding."""
    own = getattr(model, "scored_items", None)
    return (own() if own else model.item_embedding.weight)[: model.n_items]


def trained_items(model: Any) -> torch.Tensor:
    """The rows of :func:`scored_items` that training may score, ``[trained, width]``."""
    return scored_items(model)[: n_trained_items(model)]


def learns_masked_items(model: Any) -> bool:
    """Whether a model reads rows in both directions and predicts masked items in them, as BERT4Rec does.

    Its ``forward`` then takes the items alone: there is no last one after which the next is predicted.
    """
    return len(inspect.signature(model.forward).parameters) == 1 and hasattr(model, "output_bias")


def outputs_of(model: Any, interaction: Interaction) -> torch.Tensor:
    """What the model's ``forward`` makes of the rows."""
    if learns_masked_items(model):
        return model.forward(interaction[model.ITEM_SEQ])
    return model.forward(interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN])


def outputs_at_targets(model: Any, interaction: Interaction) -> torch.Tensor:
    """The model's output at every target of the rows, ``[targets, width]``."""
    with gathering(model, interaction):
        return outputs_of(model, interaction)


@contextmanager
def gathering(model: Any, interaction: Interaction) -> Iterator[None]:
    """Let the model's ``forward`` return its outputs at the targets of these rows, ``[targets, width]``.

    A model with RecBole's ``TransformerEncoder`` computes the encoder's last layer at those positions alone, causally
    where the model goes on to ``gather_indexes``, with the model's own mask where it does not.
    """
    row, position = interaction[TARGET_ROW], interaction[TARGET_POSITION]
    encoder: Any = getattr(model, "trm_encoder", None)
    if type(encoder) is TransformerEncoder:
        bidirectional = learns_masked_items(model)
        few = (interaction[READ_POSITIONS], interaction[TARGET_SLOT]) if READ_POSITIONS in interaction else None

        def forward(hidden: torch.Tensor, mask: torch.Tensor, **_: Any) -> list[torch.Tensor]:
            return [encode_at(encoder, hidden, row, position, mask if bidirectional else None, few)]

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
