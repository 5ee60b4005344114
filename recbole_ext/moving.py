"""Batches on their way to the device that computes on them."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

Batch = TypeVar("Batch")


def moved(batch: Batch, device: torch.device) -> Batch:
    """A tensor, an interaction, or a tuple, list or mapping of some, on ``device``.

    On the way to a GPU it goes through pinned memory, so that neither side waits for the copy; what is no tensor (and
    ``None``) stays as it is.
    """
    if isinstance(batch, torch.Tensor):
        return _moved(batch, device)  # type: ignore[return-value]
    if isinstance(batch, tuple):
        parts = [moved(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)  # type: ignore[return-value]
    if isinstance(batch, list):
        return [moved(part, device) for part in batch]  # type: ignore[return-value]
    if isinstance(batch, dict):
        return {name: moved(part, device) for name, part in batch.items()}  # type: ignore[return-value]
    if hasattr(batch, "interaction"):
        from recbole.data.interaction import Interaction  # who tunes or encodes needs no RecBole

        return Interaction(moved(batch.interaction, device))  # type: ignore[return-value]
    return batch


def _moved(tensor: torch.Tensor, device: Any) -> torch.Tensor:
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
