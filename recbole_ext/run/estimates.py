"""Time and memory of runs and encodings before they are made: arithmetic counted, not measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from recbole_ext.data.keys import Settings

EFFICIENCY = 0.4
"""The part of a matrix product's speed that training reaches: about that on `Scientific`, SASRec, one or two cores."""
LOADED_MB = 600
"""Resident memory of a process that has torch and RecBole loaded and nothing else."""
TOKENS_OF_A_TEXT = 64
"""Assumed where ``max_tokens`` does not say less."""


@dataclass(frozen=True)
class DatasetSize:
    """``at_least``: interactions are not known, and no less than this."""

    users: int
    items: int
    interactions: int
    at_least: bool = False


@dataclass(frozen=True)
class Estimate:
    """``operations``: floating-point operations; ``memory_mb``: at the peak."""

    operations: float
    memory_mb: float

    def seconds(self, speed: float) -> float:
        """On a device whose matrix products run at ``speed`` operations per second."""
        return self.operations / (speed * EFFICIENCY)


def estimate_run(config: Settings, size: DatasetSize) -> Estimate:
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
    scored = size.items if config.get("training_loss", "model") in ("model", "softmax") else 1000
    training = 3 * (tokens * per_token + targets * 2 * width * scored)
    evaluation = size.users * (history * per_token + 2 * width * size.items)
    logits = min(int(config["train_batch_size"]) * history * scored, 2**27)
    scores = min(int(config["eval_batch_size"]) * size.items, 2**28)
    parameters = (size.items + length) * width + weights
    megabytes = (16 * parameters + 8 * logits + 8 * scores + 24 * size.interactions) / 2**20
    return Estimate(int(config["epochs"]) * (training + evaluation), LOADED_MB + megabytes)


SHAPES: dict[str, Settings] = {
    "allenai/longformer-base-4096": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "vocab_size": 50265,
    },
}
"""What the ``config.json`` of encoders of our presets says, for where they are not on this machine."""


def estimate_encoding(encoder: dict[str, Any], items: int, max_tokens: int | None) -> Estimate:
    """Texts of ``items`` through a transformer of this Hugging Face ``config.json``."""
    width, layers = int(encoder["hidden_size"]), int(encoder["num_hidden_layers"])
    inner = int(encoder.get("intermediate_size") or 4 * width)
    weights = layers * (4 * width**2 + 2 * width * inner)
    words = int(encoder.get("vocab_size") or 0) * width
    tokens = items * min(max_tokens or TOKENS_OF_A_TEXT, TOKENS_OF_A_TEXT)
    return Estimate(2.0 * weights * tokens, LOADED_MB + (4 * (weights + words) + 4 * items * width) / 2**20)


def measured_speed() -> tuple[str, float]:
    """This machine's device and the operations per second that a matrix product reaches on it, in single precision."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = 4096 if device.type == "cuda" else 768
    left, right = torch.randn(2, size, size, device=device)
    best = 0.0
    for _ in range(4):
        began = time.perf_counter()
        (left @ right).sum().item()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return name, best
