"""RecBole's own batches without their padding: the same loss, gradients and training as RecBole's samples."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.training.prefixes import parts_by_length

Build = Callable[..., SimpleNamespace]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
SHORT = {"MAX_ITEM_LIST_LENGTH": 10, "train_batch_size": 64, **NO_DROPOUT}


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec"])
def test_a_batchs_loss_and_gradients_are_recboles(build: Build, model: str) -> None:
    built = build(model, **SHORT, dropout_prob=0.0)
    built.model.train()
    built.loaders.train.generator.manual_seed(3)
    random.seed(3)
    expected_batch = next(iter(built.loaders.train))
    expected = built.model.calculate_loss(expected_batch)
    expected.backward()
    wanted = gradients(built.model)
    built.model.zero_grad()
    built.config["training_samples"] = "prefix"
    samples = choose_samples(built.config, built.model, built.loaders)
    built.loaders.train.generator.manual_seed(3)
    random.seed(3)
    parts = next(iter(samples.loader))
    n_targets = sum(len(part["target_row"]) for part in parts)
    assert samples.name == "prefix" and samples.loss_of_rows is not None
    total = torch.zeros(())
    for part in parts:
        loss = samples.loss_of_rows(built.model, part) * (len(part["target_row"]) / n_targets)
        loss.backward()
        total = total + loss.detach()
    torch.testing.assert_close(total, expected.detach(), rtol=1e-5, atol=1e-7)
    found = gradients(built.model)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_a_whole_training_without_dropout_follows_recboles(build: Build, model: str) -> None:
    curves = []
    for name in ("augmented", "prefix"):
        built = build(model, **SHORT, training_samples=name, epochs=3)
        samples = choose_samples(built.config, built.model, built.loaders)
        trainer = build_trainer(built.config, built.model, built.checkpoint, samples.loss_of_rows)
        random.seed(5)
        torch.manual_seed(5)
        trainer.fit(samples.loader, verbose=False, saved=False)  # RecBole's masks of validation draw numbers too
        curves.append([entry["train_loss"] for entry in trainer.curve])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_parts_are_trimmed_to_their_longest_and_padded_to_no_more_than_twice(build: Build) -> None:
    built = build("SASRec", MAX_ITEM_LIST_LENGTH=30, train_batch_size=64, training_samples="prefix")
    samples = choose_samples(built.config, built.model, built.loaders)
    parts = next(iter(samples.loader))
    assert len(parts) > 2
    for part in parts:
        lengths = part["item_length"]
        assert part["item_id_list"].shape[1] == int(lengths.max()) < 2 * int(lengths.min())
    assert sum(len(part["item_id"]) for part in parts) == 64


def test_long_batches_are_cut_so_that_memory_stays_bounded() -> None:
    lengths = np.full(40, 10)
    parts = parts_by_length(lengths, positions=100)
    assert len(parts) == 4 and max(map(len, parts)) <= 11
    assert sorted(np.concatenate(parts)) == list(range(40))
