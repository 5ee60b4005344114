"""What one run costs, counted from its keys and the size of its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_ext.capacity import ALL_ITEMS_PER_NEGATIVE
from recbole_ext.data.dataset import Size
from recbole_ext.estimate import LOADED_MB, Estimate

EPOCHS_BEFORE_STOPPING = 40
"""Epochs that a run is counted with where early stopping is on: SASRec on `Scientific` and `Office` takes 20 to 45."""
SECONDS_OF_A_RUN = 0.5
"""Before its first epoch, in a process that is forked with everything loaded: reading, setting up, asking which samples
are exact."""
SECONDS_OF_A_BATCH = 0.008
"""What a step costs that arithmetic does not count: small models wait for it more than for products."""
SAMPLED = 1000
"""Items that a sampled loss scores for a target where ``training_negatives`` does not say it."""
AUGMENTED = (
    *("Caser", "DIEN", "DIN", "FEARec", "FOSSIL", "GRU4RecCPR", "GRU4RecKG", "HGN", "KSR"),
    *("LightSANs", "NextItNet", "NPE", "RepeatNet", "S3Rec", "SASRecCPR", "SHAN", "SINE", "STAMP"),
)
"""Sequential models that are trained on RecBole's padded samples unless told otherwise; see docs/models.md."""
PREFIX = ("CORE", "FPMC", "GCSAN", "HRM", "NARM", "SRGNN", "TransRec")
"""Those that are trained on the same samples without their padding. All others are trained on rows."""
PRETRAININGS = {"pretrain": 1, "actor_pretrain": 2}
"""How often ``pretrain_epochs`` come before what ``epochs`` limits, by ``train_stage``: S3Rec's, RaCT's."""


def estimate_run(config: Mapping[str, Any], size: Size, trained: bool = True) -> Estimate:
    """One run of a transformer with ``hidden_size``, ``n_layers`` and ``inner_size``, or what is like it.

    Per training token each layer costs 2 (4 d² + 2 d d_inner) operations and its attention 4 L d; per target a softmax
    over all items costs 2 d per item; backward costs twice as much as forward. An epoch has as many targets as RecBole
    has samples; every epoch ends with an evaluation, but those of a pre-training don't. Parameters are kept four times
    (value, gradient, two means).
    A model that is not ``trained`` counts once and is evaluated, whatever the limit of epochs.
    """
    width = int(config.get("hidden_size") or config.get("embedding_size") or 64)
    of_item = int(config.get("embedding_size") or width)
    layers = int(config.get("n_layers") or config.get("num_layers") or 1)
    inner = int(config.get("inner_size") or 4 * width)
    length = int(config["MAX_ITEM_LIST_LENGTH"])
    weights = layers * (4 * width**2 + 2 * width * inner)
    targets = max(size.interactions - 3 * size.users, size.users)
    tokens, history = _tokens_read(config, size, targets, length)
    per_token = 2 * weights + layers * 4 * history * width
    scored = int(config.get("training_negatives") or SAMPLED)
    exact = (config.get("training_loss") or "model") in ("model", "softmax")
    shared = config.get("training_negatives_shared")
    if exact or (not shared and size.items <= ALL_ITEMS_PER_NEGATIVE * scored):
        scored = size.items
    training = 3 * (tokens * per_token + targets * 2 * of_item * scored)
    evaluation = size.users * (history * per_token + 2 * of_item * size.items)
    logits = min(int(config["train_batch_size"]) * scored, 2**27)
    scores = min(int(config["eval_batch_size"]) * size.items, 2**28)
    parameters = (size.items + length) * of_item + weights
    megabytes = (16 * parameters + 8 * logits + 8 * scores + 24 * size.interactions) / 2**20
    epochs = int(config["epochs"])
    if int(config.get("stopping_step") or 0) and int(config.get("eval_step", 1)) > 0:
        epochs = min(epochs, EPOCHS_BEFORE_STOPPING)
    if not trained:
        epochs, training = 1, 0.0
    trainings = epochs + PRETRAININGS.get(str(config.get("train_stage")), 0) * int(config.get("pretrain_epochs") or 0)
    steps = targets / int(config["train_batch_size"]) + 1
    batches = trainings * steps + epochs * (size.users / int(config["eval_batch_size"]) + 1)
    return Estimate(
        trainings * training + epochs * evaluation,
        LOADED_MB + megabytes,
        fixed=SECONDS_OF_A_RUN + batches * SECONDS_OF_A_BATCH,
    )


def _tokens_read(config: Mapping[str, Any], size: Size, targets: float, length: int) -> tuple[float, int]:
    """Items that an epoch's forward passes read, and how many of them stand in one history on the average."""
    whole = max((size.interactions - 2 * size.users) // max(size.users, 1), 1)
    history = min(whole, length)
    samples = config.get("training_samples") or "auto"
    model = config.get("model")
    if samples == "augmented" or (samples == "auto" and model in AUGMENTED):
        return targets * length, history
    if samples == "prefix" or (samples == "auto" and model in PREFIX):
        return targets * (history + 1) / 2, history
    if config.get("transform") == "mask_itemseq":
        return targets / float(config["mask_ratio"]), history
    if whole <= length:
        return size.users * whole, history
    # A history longer than the maximum is read in windows, one for every `window_stride` items.
    return size.users * length * (1 + (whole - length) // int(config.get("window_stride") or 1)), history
