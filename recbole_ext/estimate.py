"""What a step will cost, counted and not measured; and the speed of this machine, which turns counts into seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

EFFICIENCY = 0.4
"""The part of a matrix product's speed that training reaches: about that on `Scientific`, SASRec, one or two cores."""
LOADED_MB = 700
"""Resident memory of a process that has torch and RecBole loaded and nothing else."""
MEASUREMENTS, PAUSE = 6, 0.05
"""Of a device's speed, and the seconds between them, in which what disturbed one may pass."""
TOKENS_OF_A_TEXT = 64
"""Assumed where ``max_tokens`` does not say less."""
ATTRIBUTES = 3
"""Of an item that is read as key–value pairs, where none are named."""
GPT2_NAMES = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer"}
"""What GPT-2's ``config.json`` calls it."""
SHAPES: dict[str, dict[str, Any]] = {
    "allenai/longformer-base-4096": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "vocab_size": 50265,
    },
}
"""What the ``config.json`` of encoders of our presets says, for where they are not on this machine."""


@dataclass(frozen=True)
class Estimate:
    """``operations``: floating-point operations; ``memory_mb``: at the peak; ``fixed``: seconds on any device, such as
    those of loading what is computed with."""

    operations: float
    memory_mb: float
    fixed: float = 0.0

    def seconds(self, speed: float) -> float:
        """On a device whose matrix products run at ``speed`` operations per second."""
        return self.fixed + self.operations / (speed * EFFICIENCY)


@dataclass(frozen=True)
class Transformer:
    """The shape that a Hugging Face ``config.json`` describes, biases and norms aside."""

    width: int
    layers: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, config: Mapping[str, Any], layers: int | None = None, dropped: int = 0) -> Transformer:
        """Of the whole encoder, or cut to its first ``layers`` and without ``dropped`` of them."""
        width, depth = (int(config.get(name) or config[gpt2]) for name, gpt2 in GPT2_NAMES.items())
        inner = int(config.get("intermediate_size") or 4 * width)
        return cls(width, (layers or depth) - dropped, inner, int(config.get("vocab_size") or 0))

    @property
    def weights(self) -> int:
        return self.layers * (4 * self.width**2 + 2 * self.width * self.inner)

    @property
    def words(self) -> int:
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        return self.weights + self.words

    @property
    def kept_per_token(self) -> int:
        """Numbers that the backward pass needs: some ten of the width and two of the inner width in a layer."""
        return self.layers * (10 * self.width + 2 * self.inner)

    def forward(self, tokens: float) -> float:
        """Operations; attention itself is left out, which short sequences allow."""
        return 2.0 * self.weights * tokens


def tokens_of_a_sequence(
    history: int,
    attributes: Sequence[str] | None = None,
    attribute_tokens: int | None = None,
    max_items: int | None = None,
    max_tokens: int | None = None,
) -> int:
    """Of ``history`` items read as key–value pairs; what is not set stands for RECFORMER's defaults."""
    named = len(attributes or ()) or ATTRIBUTES
    of_item = min(named * (attribute_tokens or 32), TOKENS_OF_A_TEXT)
    return 1 + min(min(max(history, 1), max_items or 50) * of_item, max_tokens or 1024)


@cache
def thread_speed() -> float:
    """Operations per second that matrix products in single precision reach on one thread of this machine.

    What it can do when nobody else is on it: the thread is timed by the processor seconds that it gets, which others
    on the machine do not lengthen, and the best of several short measurements counts, for others still take caches and
    the other half of a core from it.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _best_product(torch.device("cpu"), 384, time.thread_time)
    finally:
        torch.set_num_threads(threads)


@cache
def gpu_speed() -> tuple[str, float]:
    """The GPU that torch takes first, and the operations per second that matrix products in single precision reach."""
    import torch

    device = torch.device("cuda")
    return torch.cuda.get_device_name(device), _best_product(device, 4096, time.perf_counter)


def _best_product(device: torch.device, size: int, clock: Callable[[], float]) -> float:
    """Operations per second of the fastest of some products of two ``[size, size]`` matrices, a few at a time."""
    import torch

    left, right = torch.randn(2, size, size, device=device)
    best = 0.0
    for measurement in range(MEASUREMENTS):
        if measurement:
            time.sleep(PAUSE)
        for _ in range(10):
            began = clock()
            (left @ right).sum().item()
            best = max(best, 2 * size**3 / (clock() - began))
    return best
