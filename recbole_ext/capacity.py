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


def device_memory(device: Any) -> int | None:
    """Bytes of an accelerator's memory, free or not: what is computed at once must not depend on what else runs.

    ``None`` where torch does not say it. An Apple GPU shares the machine's memory, of which its driver names a part.
    """
    import torch

    device = torch.device(device)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    properties_of = getattr(getattr(torch, device.type, None), "get_device_properties", None)
    memory = getattr(properties_of(device), "total_memory", None) if properties_of else None
    return None if memory is None else int(memory)


def at_once(device: Any, on_cpu: int, share: float, size: float) -> int:
    """How many things of ``size`` bytes are computed at once: on an accelerator those that fit into this ``share`` of
    its memory, on a CPU, and where nothing says how much memory there is, ``on_cpu``."""
    import torch

    device = torch.device(device)
    memory = None if device.type == "cpu" else device_memory(device)
    return on_cpu if memory is None else max(1, int(share * memory / size))


def activation_bytes(width: int, layers: int) -> int:
    """What a transformer of this size keeps of a position for the backward pass."""
    return NUMBER * KEPT_NUMBERS * width * layers


def positions_at_once(config: Any, on_cpu: int) -> int:
    """Positions of histories that a recommender with RecBole's keys of ``config`` reads in one forward pass."""
    width = config["hidden_size"] or config["embedding_size"] or DEFAULT_WIDTH
    layers = config["n_layers"] or config["num_layers"] or DEFAULT_LAYERS
    return at_once(config["device"], on_cpu, SHARE_OF_ACTIVATIONS, activation_bytes(int(width), int(layers)))
