"""What is minimised over the targets of rows: RecBole's own loss, or one that a large catalogue can afford."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.layers import TransformerEncoder

from recbole_ext.training.losses import binary_loss, sampled_softmax_loss, softmax_loss
from recbole_ext.training.rows import TARGET_POSITION, TARGET_ROW
from recbole_ext.training.transformer import encode_at

LossOfRows = Callable[[Any, Interaction], torch.Tensor]

TRAINING_LOSSES = ("model", "softmax", "sampled_softmax", "bce")
DEFAULT_SAMPLED = {"sampled_softmax": 1000, "bce": 1}


def row_loss(model: Any, interaction: Interaction) -> torch.Tensor:
    """The model's ``calculate_loss`` over every target of the rows of ``interaction``.

    RecBole's causal models end their ``forward`` with ``gather_indexes``, which picks one position per sequence.
    Here it picks every target's position instead, ``[targets, width]``, and the model's own ``calculate_loss``
    goes on from there against ``item_id`` and ``neg_item_id``, ``[targets]``: the same mean over the same samples.
    """
    with gathering(model, interaction[TARGET_ROW], interaction[TARGET_POSITION]):
        return model.calculate_loss(interaction)


def dot_product_loss(kind: str, sampled: int | None = None) -> LossOfRows:
    """``softmax``, ``sampled_softmax`` or ``bce`` of a model that scores by the dot product with its items.

    ``sampled`` is the number of negatives: shared by a part's targets (``sampled_softmax``, 1,000 by default) or per
    target (``bce``, 1 by default), drawn uniformly from the items.
    """

    def loss(model: Any, interaction: Interaction) -> torch.Tensor:
        outputs, target = outputs_at_targets(model, interaction), interaction[model.ITEM_ID]
        items, bias = scored_items(model), getattr(model, "output_bias", None)
        if kind == "softmax":
            return softmax_loss(outputs, items, target, bias)
        n_sampled = sampled or DEFAULT_SAMPLED[kind]
        shape = (n_sampled,) if kind == "sampled_softmax" else (len(target), n_sampled)
        negatives = torch.randint(1, model.n_items, shape, device=target.device)
        function = sampled_softmax_loss if kind == "sampled_softmax" else binary_loss
        return function(outputs, items, target, negatives, bias)

    return loss


def scored_items(model: Any) -> torch.Tensor:
    """The matrix with which the model multiplies its outputs, ``[n_items, width]``: by default its item embedding."""
    own = getattr(model, "scored_items", None)
    return (own() if own else model.item_embedding.weight)[: model.n_items]


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
    with gathering(model, interaction[TARGET_ROW], interaction[TARGET_POSITION]):
        return outputs_of(model, interaction)


@contextmanager
def gathering(model: Any, row: torch.Tensor, position: torch.Tensor) -> Iterator[None]:
    """Let the model's ``forward`` return its outputs at ``(row, position)``, ``[targets, width]``.

    A model with RecBole's ``TransformerEncoder`` computes the encoder's last layer at those positions alone, causally
    where the model goes on to ``gather_indexes``, with the model's own mask where it does not.
    """
    encoder: Any = getattr(model, "trm_encoder", None)
    if type(encoder) is TransformerEncoder:
        bidirectional = learns_masked_items(model)

        def forward(hidden: torch.Tensor, mask: torch.Tensor, **_: Any) -> list[torch.Tensor]:
            return [encode_at(encoder, hidden, row, position, mask if bidirectional else None)]

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
