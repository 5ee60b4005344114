"""S3Rec pre-trains and fine-tunes in one run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from recbole_ext.training import build_trainer

Build = Callable[..., SimpleNamespace]
KEYS = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]},
    "item_attribute": "title",
    "MAX_ITEM_LIST_LENGTH": 8,
    "epochs": 1,
}


@pytest.mark.parametrize("pretrain_epochs", [0, 1])
def test_fine_tuning_goes_on_from_the_pre_trained_parameters(
    build: Build, pretrain_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build("S3Rec", pretrain_epochs=pretrain_epochs, **KEYS)
    model = built.model
    before = model.feature_embedding.weight.detach().clone()
    begun: list[torch.Tensor] = []

    def begin_finetuning() -> None:
        begun.append(model.item_embedding.weight.detach().clone())
        type(model).begin_finetuning(model)

    monkeypatch.setattr(model, "begin_finetuning", begin_finetuning)
    at_first = model.item_embedding.weight.detach().clone()
    trainer = build_trainer(built.config, model, built.checkpoint)
    trainer.fit(built.loaders.train, built.loaders.valid, verbose=False)
    # What only pre-training reads moves with it alone, and what both read has moved before fine-tuning begins.
    assert torch.equal(model.feature_embedding.weight, before) is (pretrain_epochs == 0)
    assert torch.equal(begun[0], at_first) is (pretrain_epochs == 0)
    assert not torch.equal(model.item_embedding.weight, begun[0])
    assert model.train_stage == "finetune" and [entry["epoch"] for entry in trainer.curve] == [0]
    assert "valid" in trainer.curve[0]


def test_fine_tuning_is_next_item_cross_entropy_with_attention_to_earlier_items(build: Build) -> None:
    built = build("S3Rec", **KEYS)
    model = built.model.eval()
    model.begin_finetuning()
    samples = built.loaders.train._dataset[torch.arange(20)]
    scores = model.full_sort_predict(samples)
    hidden = model.forward(samples["item_id_list"], bidirectional=False)
    outputs = model.gather_indexes(hidden, samples["item_length"] - 1)
    logits = outputs @ model.item_embedding.weight.T
    assert torch.allclose(scores, logits[:, :-1], atol=1e-6)
    expected = torch.nn.functional.cross_entropy(logits, samples["item_id"])
    assert torch.allclose(model.calculate_loss(samples), expected, atol=1e-5)
