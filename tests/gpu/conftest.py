"""Which device the tests of this folder compare with the CPU.

A GPU, or the one that ``RECBOLE_EXT_TEST_DEVICE`` names: with ``cpu`` the very same tests compare the CPU with itself,
which shows without a GPU that they are free of mistakes of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

Build = Callable[..., SimpleNamespace]


@pytest.fixture(scope="session")
def device() -> torch.device:
    named = torch.device(os.environ.get("RECBOLE_EXT_TEST_DEVICE", "cuda"))
    if named.type == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("torch finds no GPU here (`recbole-ext doctor` says why)")
        torch.cuda.init()  # before a Config of RecBole for the CPU hides it
    return named


@pytest.fixture(autouse=True)
def visible_gpus_stay_visible() -> Iterator[None]:
    """RecBole's Config sets the variable; the next test begins as this one did."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    yield
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if before is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = before


@pytest.fixture
def draws_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers that models and losses draw on a device are those of the CPU, moved there."""
    for name in ("rand", "randint", "randn"):
        own = getattr(torch, name)

        def drawn(*args: Any, own: Any = own, device: Any = None, **kwargs: Any) -> torch.Tensor:
            return own(*args, **kwargs).to(device or "cpu")

        monkeypatch.setattr(torch, name, drawn)
    randn = torch.randn
    monkeypatch.setattr(torch, "randn_like", lambda like: randn(like.shape, dtype=like.dtype).to(like.device))


@pytest.fixture
def build_on(build: Build) -> Build:
    """``build_on(device, model, **settings)``: ``build``, with the model on ``device``."""

    def build_on(device: torch.device, model: str, **settings: Any) -> SimpleNamespace:
        built = build(model, gpu_id="0" if device.type == "cuda" else "", **settings)
        assert built.config["device"].type == device.type
        built.model.to(device)
        return built

    return build_on
