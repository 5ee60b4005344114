"""Several processes that train one model together: each computes its share of every batch, and all take the same step.

All of them read the same data and draw the same batches in the same order. Each goes through its own share of a batch;
the gradients of the shares, weighted by their targets, are added up over the processes. That sum is the gradient of the
batch's mean loss, however unequal the shares are, and every process takes the optimizer's step with it.

``torch.nn.parallel.DistributedDataParallel`` is not used: it averages gradients with equal weights, though shares
differ in targets; it hooks into ``forward``, while RecBole trains its models by ``calculate_loss``; and a batch here
may go through the model in several parts. The sum itself is a few lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others, who do as much as it does, before it ends with an error."""


@dataclass(frozen=True)
class Team:
    """One process of those that share a run; by default it is alone, and nothing here does anything.

    Attributes:
        number: of this process, from 0. Number 0 leads: it alone writes anything.
        size: of how many processes.
    """

    number: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.number == 0

    def begin(self, model: torch.nn.Module) -> None:
        """Begin from one and the same model, with random numbers of one's own for what is drawn inside of it.

        What loaders draw (order, masks, negatives) comes from generators of their own and of NumPy and Python, which
        stay alike in all processes.
        """
        if self.size == 1:
            return
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                distributed.broadcast(tensor, 0)
        if not self.leads:
            # Mixed, so that no process draws what one of another run's does, whose seed is the next.
            torch.manual_seed(int(np.random.SeedSequence([torch.initial_seed(), self.number]).generate_state(1)[0]))

    def add_gradients(self, model: torch.nn.Module) -> None:
        """Let every parameter's gradient be the sum of all processes' gradients, the same to the last bit in each."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def sums(self, numbers: tuple[float, ...]) -> tuple[float, ...]:
        """Each number's sum over all processes."""
        return tuple(map(sum, zip(*self.gathered(numbers), strict=True)))

    def gathered(self, value: Any) -> list[Any]:
        """What all processes call this with, in their order; every one gets it."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes have come here."""
        self.gathered(None)

    @contextmanager
    def together(self, folder: Path) -> Iterator[None]:
        """For the block, be connected to the others; all are on this machine and meet in ``folder``, which is empty.

        After an error the connection stays until the process ends, so that it can say first what went wrong.
        """
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            init_method=f"file://{folder / 'team'}",
            rank=self.number,
            world_size=self.size,
            timeout=PATIENCE,
        )
        yield
        distributed.destroy_process_group()


ALONE = Team()
