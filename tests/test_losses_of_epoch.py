"""An epoch's losses add up to what adding their numbers one by one gives."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.losses_of_epoch import LossesOfEpoch


def test_the_sums_are_those_of_the_numbers_to_the_last_bit() -> None:
    draws = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    losses, expected = LossesOfEpoch(), [0.0, 0.0]
    for one, other in draws:
        losses.add(one, other)
        expected = [expected[0] + one.item(), expected[1] + other.item()]
    assert losses.sums() == tuple(expected)


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_a_loss_that_is_no_number_or_infinite_ends_the_training_at_once(loss: str) -> None:
    losses = LossesOfEpoch()
    losses.add(torch.tensor(1.0))
    with pytest.raises(ValueError, match=f"loss is {loss}"):
        losses.add(torch.tensor(float(loss)))


def test_an_epoch_without_batches_has_no_loss() -> None:
    assert LossesOfEpoch().sums() == (0.0,)
