"""Dropout from 16-bit draws is dropout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recbole_ext.dropout import CheapDropout, draw_cheaply


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_as_much_is_dropped_as_asked_and_the_expectation_stays(p: float) -> None:
    torch.manual_seed(0)
    dropped = CheapDropout(p)(torch.ones(1000, 400))
    assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=0.002)
    assert dropped.double().mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(dropped.unique(), torch.tensor([0, 1 / (1 - round(p * 65536) / 65536)]))


def test_entries_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (CheapDropout(0.5)(torch.ones(100_000, 4)) != 0).double()  # the four share one draw of 64 bits
    assert torch.corrcoef(kept.T).fill_diagonal_(0).abs().max() < 0.02


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), p=st.floats(0, 1), seed=st.integers(0, 1000))
def test_any_shape_and_probability_scales_what_it_keeps_and_its_gradient_alike(
    shape: list[int], p: float, seed: int
) -> None:
    vectors = torch.rand(shape, requires_grad=True)
    torch.manual_seed(seed)
    dropped = CheapDropout(p)(vectors)
    dropped.sum().backward()
    assert vectors.grad is not None
    assert torch.allclose(dropped, vectors * vectors.grad)
    torch.manual_seed(seed)
    assert torch.equal(CheapDropout(p)(vectors), dropped)


def test_outside_training_it_is_the_identity() -> None:
    vectors = torch.rand(3, 4)
    assert torch.equal(nn.Sequential(CheapDropout(0.5)).eval()(vectors), vectors)


def test_a_models_dropouts_draw_cheaply_and_stay_what_they_are() -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Dropout1d(0.3), nn.Dropout(0.1)))
    draw_cheaply(model)
    assert [type(module) for module in (model[0], model[1][0], model[1][1])] == [
        CheapDropout,
        nn.Dropout1d,
        CheapDropout,
    ]
    assert [model[0].p, model[1][1].p] == [0.3, 0.1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_what_is_dropped_keeps_its_type(dtype: torch.dtype) -> None:
    assert CheapDropout(0.1)(torch.ones(8, dtype=dtype)).dtype == dtype
