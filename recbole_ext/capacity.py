"""How much is computed at once: on a CPU what stays in its caches, on an accelerator what its memory has room for."""

from __future__ import annotations

from typing import Any

NUMBER = 4
"""Bytes of a number in single precision."""
KEPT_NUMBERS = 40
"""Numbers that a transformer layer keeps of a position for the backward pass, in units of its width, roughly."""
ALL_ITEMS_PER_NEGATIVE = 16
"""Up to so many items for each negative of a target, scoring all items takes less time than gathering the negatives."""
DEFAULT_WIDTH, DEFAULT_LAYERS = 64, 2
SHARE_OF_ACTIVATIONS = 1 / 4
"""Of an accelerator's memory: what is kept for the backward pass of what goes through a model at once."""


def device_memory(device: Any) -> int:
    """Bytes of an accelerator's memory, free or not: what is computed at once must not depend on what else runs."""
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def at_once(device: Any, on_cpu: int, share: float, size: float) -> int:
    """How many things of ``size`` bytes are computed at once: ``on_cpu`` on a CPU, on an accelerator those that fit
    into this ``share`` of its memory."""
    import torch

    device = torch.device(device)
    return on_cpu if device.type == "cpu" else max(1, int(share * device_memory(device) / size))


def activation_bytes(width: int, layers: int) -> int:
    """What a transformer of this size keeps of a position for the backward pass."""
    return NUMBER * KEPT_NUMBERS * width * layers


def positions_at_once(config: Any, on_cpu: int) -> int:
    """Positions of histories that a recommender with RecBole's keys of ``config`` reads in one forward pass."""
    width = config["hidden_size"] or config["embedding_size"] or DEFAULT_WIDTH
    layers = config["n_layers"] or config["num_layers"] or DEFAULT_LAYERS
    return at_once(config["device"], on_cpu, SHARE_OF_ACTIVATIONS, activation_bytes(int(width), int(layers)))
