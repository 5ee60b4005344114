from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_ext.training import losses
from recbole_ext.training.losses import binary_loss, sampled_softmax_loss, softmax_loss


def problem(n_items: int = 50, n_targets: int = 23) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(n_targets, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    items = torch.randn(n_items, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(n_items, generator=generator, dtype=torch.float64, requires_grad=True)
    return outputs, items, torch.randint(1, n_items, (n_targets,), generator=generator), bias


@pytest.mark.parametrize(
    "limit", [2**26, 50 * 7, 50, 1], ids=["at once", "chunks of 7", "chunks of 1", "below one row"]
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_softmax_loss_and_gradients_are_exact_however_it_is_chunked(
    monkeypatch: pytest.MonkeyPatch, limit: int, with_bias: bool
) -> None:
    outputs, items, target, bias = problem()
    expected = cross_entropy(outputs @ items.T + (bias if with_bias else 0), target)
    wanted = torch.autograd.grad(expected, [outputs, items, *([bias] if with_bias else [])])
    monkeypatch.setattr(losses, "MAXIMUM_LOGITS", limit)
    found = softmax_loss(outputs, items, target, bias if with_bias else None)
    got = torch.autograd.grad(found, [outputs, items, *([bias] if with_bias else [])])
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(wanted, got, strict=True))


def test_sampled_softmax_over_all_other_items_is_the_softmax() -> None:
    outputs, items, target, bias = problem()
    everything = torch.arange(len(items))
    found = sampled_softmax_loss(outputs, items, target, everything, bias)
    logits = outputs @ items.T + bias
    correction = torch.log(torch.tensor((len(items) - 1) / len(items), dtype=torch.float64))
    own = torch.nn.functional.one_hot(target, len(items)).bool()
    expected = cross_entropy(torch.where(own, logits, logits + correction), target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_sampled_softmax_estimates_the_softmax_better_with_more_samples() -> None:
    outputs, items, target, _ = problem(n_items=2000, n_targets=200)
    expected = softmax_loss(outputs, items, target).item()
    torch.manual_seed(0)

    def error(n_sampled: int) -> float:
        drawn = [
            sampled_softmax_loss(outputs, items, target, torch.randint(1, 2000, (n_sampled,))).item() for _ in range(10)
        ]
        return abs(sum(drawn) / len(drawn) - expected)

    assert error(1500) < error(5) / 4


def test_binary_loss_is_minus_log_sigmoid_of_target_and_of_turned_negatives() -> None:
    outputs, items, target, bias = problem()
    negatives = torch.randint(1, 50, (len(target), 3))
    expected = 0.0
    for row in range(len(target)):
        score = outputs[row] @ items[target[row]] + bias[target[row]]
        expected -= torch.sigmoid(score).log().item()
        for negative in negatives[row]:
            expected -= torch.sigmoid(-(outputs[row] @ items[negative] + bias[negative])).log().item()
    found = binary_loss(outputs, items, target, negatives, bias)
    assert found.item() == pytest.approx(expected / len(target), rel=1e-10)
