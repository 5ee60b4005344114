"""Every mode trains and ranks through RecBole's own trainer and evaluator, on every kind of data path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recbole_ext.attach import MODES, attach_item_embedding
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import build_trainer, choose_samples

Build = Callable[..., SimpleNamespace]
SEQUENTIAL = ["SASRec", "BERT4Rec", "GRU4Rec", "NARM", "LightSANs", "CORE", "FEARec", "STAMP", "Caser", "SRGNN"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", [*SEQUENTIAL, "BPR"])
def test_the_model_learns_ranks_and_gives_back_its_best_checkpoint(
    build: Build, model: str, mode: str, tmp_path: Path
) -> None:
    sampling = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}} if model == "BPR" else {}
    built = build(model, item_embedding_mode=mode, epochs=1, train_batch_size=512, **sampling)
    tokens = [str(token) for token in built.dataset.field2id_token["item_id"][1:]]
    torch.manual_seed(0)
    built.config["item_embedding"] = ItemEmbeddingStore(torch.randn(len(tokens), 16), tokens)
    attach_item_embedding(built.model, built.loaders.train._dataset, built.config)
    before = built.model.item_embedding.weight.detach().clone()
    built.config["item_embedding"] = None
    samples = choose_samples(built.config, built.model, built.loaders)
    trainer = build_trainer(built.config, built.model, tmp_path / "best.pth", samples.loss_of_rows)
    trainer.fit(samples.loader, built.loaders.valid, verbose=False)
    after = built.model.item_embedding.weight.detach()
    moved = (after[1:61] != before[1:61]).any(dim=1)
    assert not moved.any() if mode == "frozen" else moved.any()
    metrics = trainer.evaluate(built.loaders.test, load_best_model=True)
    assert 0 <= metrics["ndcg@10"] <= 1 and torch.isfinite(after).all()
    assert len(trainer.test_ranks(built.loaders.test)) == 40
