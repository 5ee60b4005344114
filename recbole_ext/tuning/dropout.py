"""Another dropout for a Hugging Face model than the one it was made with."""

from __future__ import annotations

from typing import Any

from torch import nn


def set_dropout(model: Any, probability: float) -> None:
    """Set every dropout of ``model`` and of its config to ``probability``, those of the attention weights included.

    Without dropout, a training step's attention runs in one fused kernel on every device.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
        _set_numbers(module, probability)
    _set_numbers(model.config, probability)


def _set_numbers(owner: Any, probability: float) -> None:
    for name, value in list(vars(owner).items()):
        if ("dropout" in name or "pdrop" in name) and isinstance(value, float | int) and not isinstance(value, bool):
            setattr(owner, name, probability)
