"""The shares of a batch: together they are the batch, and weighted by what they count their losses are its loss."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.errors import ConfigurationError
from recbole_ext.training import Team, choose_samples
from recbole_ext.training.shares import require_shares_that_add_up, share_of_rows, share_of_samples

Build = Callable[..., SimpleNamespace]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("SASRec", {"MAX_ITEM_LIST_LENGTH": 8}),  # windows with one target each beside rows with many
    ("SASRec", {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}),
    ("GRU4Rec", {}),
    ("BERT4Rec", {}),
    ("BERT4Rec", {"training_samples": "prefix"}),
]


def gradient(model: torch.nn.Module, losses: list[torch.Tensor]) -> torch.Tensor:
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("size", [2, 40])  # a part has fewer rows than forty
@pytest.mark.parametrize(("model", "keys"), ROWS)
def test_gradients_of_shares_add_up_to_the_batchs(build: Build, model: str, keys: dict[str, Any], size: int) -> None:
    built = build(model, train_batch_size=32, n_layers=1, **NO_DROPOUT, **keys)
    samples = choose_samples(built.config, built.model, built.loaders)
    assert samples.loss_of_rows is not None
    built.model.double()
    of_targets = built.model.ITEM_ID, built.model.NEG_ITEM_ID
    part = next(iter(samples.loader))[0]
    n_targets = len(part["target_row"])
    shares = [share_of_rows(part, Team(number, size), of_targets) for number in range(size)]
    assert sum(counted for _, counted in shares) == n_targets
    assert size == 2 or shares[-1][1] == 0
    whole = gradient(built.model, [samples.loss_of_rows(built.model, part)])
    losses = [samples.loss_of_rows(built.model, share) * (counted / n_targets) for share, counted in shares]
    torch.testing.assert_close(gradient(built.model, losses), whole, rtol=1e-6, atol=1e-9)


def test_samples_are_shared_out_evenly_and_none_is_left_out(build: Build) -> None:
    built = build("SASRec", train_batch_size=32)
    batch = next(iter(built.loaders.train))
    shares = [share_of_samples(batch, Team(number, 3)) for number in range(3)]
    assert [len(samples) for samples, _ in shares] == [11, 11, 10]
    assert sum(share for _, share in shares) == pytest.approx(1)
    together = torch.cat([samples[built.model.POS_ITEM_ID] for samples, _ in shares])
    assert sorted(together.tolist()) == sorted(batch[built.model.POS_ITEM_ID].tolist())
    few = batch[np.arange(2)]
    assert [share for _, share in (share_of_samples(few, Team(number, 3)) for number in range(3))] == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("FEARec", {"contrast": "un"}),  # tells each sample from the others of its batch
        ("SASRec", {"training_loss": "sce"}),  # its negatives are those nearest to the batch
        ("BERT4Rec", {"training_samples": "augmented"}),  # RecBole's mean is over the batch's masks, not its samples
    ],
)
def test_a_loss_that_does_not_add_up_is_refused(build: Build, model: str, keys: dict[str, Any]) -> None:
    built = build(model, **keys)
    samples = choose_samples(built.config, built.model, built.loaders)
    with pytest.raises(ConfigurationError, match=f"nproc: the loss of {model}"):
        require_shares_that_add_up(built.config, built.model, built.loaders.train, samples.loss_of_rows)


@pytest.mark.parametrize(
    ("model", "samples"),
    [(model, samples) for model in ("SASRec", "GRU4Rec", "NARM", "STAMP", "Caser") for samples in ("auto", "augmented")]
    + [("BERT4Rec", "auto")],
)
def test_a_mean_over_samples_can_be_shared(build: Build, model: str, samples: str) -> None:
    built = build(model, training_samples=samples)
    chosen = choose_samples(built.config, built.model, built.loaders)
    require_shares_that_add_up(built.config, built.model, built.loaders.train, chosen.loss_of_rows)
