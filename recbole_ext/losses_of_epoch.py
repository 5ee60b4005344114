"""The losses of an epoch, added up without waiting for the device."""

from __future__ import annotations

import math

import torch


class LossesOfEpoch:
    """Sums of an epoch's losses, kept on their device, for reading a number there waits for all that is under way.

    They are what adding up the numbers one by one gives. A loss that is not a number, or infinite, is found at
    once on a CPU, at the end of the epoch elsewhere.
    """

    def __init__(self) -> None:
        self._sums: list[torch.Tensor] = []

    def add(self, *losses: torch.Tensor) -> None:
        if not self._sums:
            self._sums = [torch.zeros((), dtype=torch.float64, device=loss.device) for loss in losses]
        for total, loss in zip(self._sums, losses, strict=True):
            total += loss.detach().reshape(())
        if losses[0].device.type == "cpu":
            self._refuse_no_number()

    def sums(self) -> tuple[float, ...]:
        self._refuse_no_number()
        return tuple(torch.stack(self._sums).tolist()) if self._sums else (0.0,)

    def _refuse_no_number(self) -> None:
        for total in torch.stack(self._sums).tolist() if self._sums else ():
            if not math.isfinite(total):
                raise ValueError(f"Training loss is {total}")
