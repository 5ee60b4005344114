"""Sampled ranking with one reading of a history: RecBole's candidates, ranks and metrics."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataloader import NegSampleEvalDataLoader

from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.training.sampled_ranking import SampledRankingLoader, has_one_positive_each

Build = Callable[..., SimpleNamespace]
WHOLE = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}


def metrics_and_ranks(built: SimpleNamespace, loader: Any) -> tuple[dict[str, float], np.ndarray]:
    trainer = build_trainer(built.config, built.model, built.checkpoint)
    np.random.seed(5)
    metrics = dict(trainer.evaluate(loader, load_best_model=False))
    return metrics, trainer.test_ranks(loader)


@pytest.mark.parametrize("mode", ["uni10", "pop10", "uni100"])
@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "GRU4Rec", "NARM"])
def test_the_metrics_are_those_of_recboles_loader(build: Build, model: str, mode: str) -> None:
    built = build(model, eval_args={**WHOLE, "mode": mode}, topk=[1, 5, 10])
    torch.nn.init.normal_(built.model.item_embedding.weight)
    stock = built.loaders.test
    assert isinstance(stock, NegSampleEvalDataLoader)
    expected = metrics_and_ranks(built, stock)
    choose_samples(built.config, built.model, built.loaders)
    assert isinstance(built.loaders.test, SampledRankingLoader)
    found = metrics_and_ranks(built, built.loaders.test)
    assert found[0] == pytest.approx(expected[0], abs=1e-7)
    assert (found[1] == expected[1]).all()


def test_candidates_do_not_depend_on_the_order_of_the_samples(build: Build) -> None:
    built = build("SASRec", eval_args={**WHOLE, "mode": "uni10"})
    loader = SampledRankingLoader(built.loaders.test)
    np.random.seed(5)
    before = loader._draw()
    order = torch.randperm(len(before))
    loader._dataset.inter_feat = loader._dataset.inter_feat[order]
    np.random.seed(5)
    assert torch.equal(loader._draw(), before[order])


def test_candidates_are_the_positive_and_others_than_it(build: Build) -> None:
    built = build("SASRec", eval_args={**WHOLE, "mode": "uni10"})
    for loader in (SampledRankingLoader(built.loaders.valid), SampledRankingLoader(built.loaders.test)):
        for interaction, left_out, rows, positive in loader:
            assert torch.equal(rows, torch.arange(len(interaction)))
            candidates = ~left_out.left_out(loader._dataset.item_num)
            assert candidates[rows, positive].all()
            assert (candidates.sum(1) <= 11).all() and (candidates.sum(1) >= 6).all()
            assert not candidates[:, 0].any()


def test_each_evaluation_draws_anew_as_recbole_does(build: Build) -> None:
    loader = SampledRankingLoader(build("SASRec", eval_args={**WHOLE, "mode": "uni10"}).loaders.test)
    first, second = (torch.cat([batch[1].items for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_history_is_read_once(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build("SASRec", eval_args={**WHOLE, "mode": "uni10"})
    choose_samples(built.config, built.model, built.loaders)
    read: list[int] = []
    forward = built.model.forward

    def counting(seq: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        read.append(len(seq))
        return forward(seq, length)

    monkeypatch.setattr(built.model, "forward", counting)
    metrics_and_ranks(built, built.loaders.test)
    assert sum(read) == 40


def test_recboles_own_samples_keep_recboles_own_loader(build: Build) -> None:
    built = build("SASRec", eval_args={**WHOLE, "mode": "uni10"}, training_samples="augmented")
    choose_samples(built.config, built.model, built.loaders)
    assert type(built.loaders.test) is NegSampleEvalDataLoader


def test_users_with_several_test_items_keep_recboles_own_loader(build: Build) -> None:
    built = build("SASRec", eval_args={**WHOLE, "split": {"RS": [0.6, 0.2, 0.2]}, "mode": "uni10"})
    assert not has_one_positive_each(built.loaders.test)
    choose_samples(built.config, built.model, built.loaders)
    assert type(built.loaders.test) is NegSampleEvalDataLoader


def test_a_model_that_scores_one_item_otherwise_keeps_recboles_own_loader(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build("SASRec", eval_args={**WHOLE, "mode": "uni10"})
    predict = built.model.predict
    monkeypatch.setattr(built.model, "predict", lambda interaction: predict(interaction) ** 2)
    choose_samples(built.config, built.model, built.loaders)
    assert type(built.loaders.test) is NegSampleEvalDataLoader
