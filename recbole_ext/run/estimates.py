"""Time and memory of runs before they are made: arithmetic counted, not measured."""

from __future__ import annotations

from typing import Any

from recbole_ext.data.dataset import Size
from recbole_ext.data.keys import Settings
from recbole_ext.estimate import LOADED_MB, Estimate, Transformer, tokens_of_a_sequence
from recbole_ext.tune.settings import TuneSettings

TOKENS_OF_A_STEP = 8192
"""Of RECFORMER, which splits larger batches."""


def estimate_run(config: Settings, size: Size) -> Estimate:
    """All epochs of one run of a transformer with ``hidden_size``, ``n_layers`` and ``inner_size``.

    Per training token each layer costs 2 (4 d² + 2 d d_inner) operations and its attention 4 L d; per target a softmax
    over all items costs 2 d per item; backward costs twice as much as forward. Every epoch ends with an evaluation.
    Parameters are kept four times (value, gradient and Adam's two means).
    """
    width = int(config.get("hidden_size") or config.get("embedding_size") or 64)
    layers = int(config.get("n_layers") or config.get("num_layers") or 1)
    inner = int(config.get("inner_size") or 4 * width)
    length = int(config["MAX_ITEM_LIST_LENGTH"])
    weights = layers * (4 * width**2 + 2 * width * inner)
    tokens = max(size.interactions - 2 * size.users, size.users)
    history = min(length, max(tokens // max(size.users, 1), 1))
    per_token = 2 * weights + layers * 4 * history * width
    targets = tokens * float(config.get("mask_ratio") or 1.0)
    scored = int(config.get("training_negatives") or 1000)
    if config.get("training_loss", "model") in ("model", "softmax"):
        scored = size.items
    training = 3 * (tokens * per_token + targets * 2 * width * scored)
    evaluation = size.users * (history * per_token + 2 * width * size.items)
    logits = min(int(config["train_batch_size"]) * history * scored, 2**27)
    scores = min(int(config["eval_batch_size"]) * size.items, 2**28)
    parameters = (size.items + length) * width + weights
    megabytes = (16 * parameters + 8 * logits + 8 * scores + 24 * size.interactions) / 2**20
    return Estimate(int(config["epochs"]) * (training + evaluation), LOADED_MB + megabytes)


def estimate_recformer(encoder: dict[str, Any], size: Size, config: Settings, tuned: TuneSettings | None) -> Estimate:
    """All epochs of both stages of RECFORMER, one sequence per user each, and the evaluations after them.

    ``tuned``: how the encoder was tuned to read items, which the model's own keys override.
    """
    shape = Transformer.of(encoder)
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
    return Estimate((one + two) * (4 * users + scores) + one * items, LOADED_MB + megabytes)
