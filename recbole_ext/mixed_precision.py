"""RecBole's ``enable_amp``, in the format that its ``enable_scaler`` asks for."""

from __future__ import annotations

import torch


def mixed_precision(device: torch.device, enable_amp: bool, enable_scaler: bool) -> torch.autocast:
    """Where matrix products are computed in 16 bits, if ``enable_amp``.

    In bfloat16, whose range is single precision's; on a GPU in float16 where ``enable_scaler`` scales the loss. RecBole
    takes float16 there without it too, in which small gradients are lost.
    """
    scaled = enable_scaler and device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.float16 if scaled else torch.bfloat16, enabled=enable_amp)
