"""What training RECFORMER costs, counted and not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_ext.data.sizes import Size
from recbole_ext.estimate import LOADED_MB, Estimate, Transformer, tokens_of_a_sequence
from recbole_ext.tuning.settings import TuneSettings

TOKENS_OF_A_STEP = 8192
"""Larger batches are read in parts; ``TOKENS_PER_PART`` of the trainer beside this, told without torch."""
LOADING_SECONDS = 20.0
"""Importing torch and transformers, loading an encoder, reading and tokenising the items."""


def estimate_recformer(
    shape: Transformer, size: Size, config: Mapping[str, Any], tuned: TuneSettings | None = None
) -> Estimate:
    """All epochs of both stages, one sequence per user each, and the evaluations after them.

    A user's sequence is read forward and backward in training and forward in evaluation; stage one reads all items
    before every epoch. Parameters are kept four times (value, gradient and Adam's two means).

    Args:
        config: RecBole's, with the model's own keys.
        tuned: how the encoder was tuned to read items, which the model's own keys override.
    """
    own = {"attributes": config.get("item_attributes"), **config}
    keys = ("attributes", "attribute_tokens", "max_items", "max_tokens")
    reading: dict[str, Any] = {key: own.get(key) or getattr(tuned, key, None) for key in keys}
    history = max(size.interactions - 2 * size.users, 0) // max(size.users, 1)
    users = shape.forward(size.users * tokens_of_a_sequence(history, **reading))
    items = shape.forward(size.items * tokens_of_a_sequence(1, **reading))
    one, two = int(config["stage_one_epochs"]), int(config["stage_two_epochs"])
    scores = 3 * size.users * 2 * shape.width * size.items
    megabytes = (
        16 * shape.parameters + 8 * size.items * shape.width + 4 * TOKENS_OF_A_STEP * shape.kept_per_token
    ) / 2**20
    return Estimate((one + two) * (4 * users + scores) + one * items, LOADED_MB + megabytes, fixed=LOADING_SECONDS)
