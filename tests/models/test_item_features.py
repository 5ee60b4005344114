"""SASRecF and FDSA read item vectors as a feature, alone or beside RecBole's own (RecBole issue 2196)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from recbole_ext.attach import attach_item_embedding
from recbole_ext.errors import AttachError
from recbole_ext.training import build_trainer, choose_samples

Build = Callable[..., SimpleNamespace]
MODELS = ["SASRecF", "FDSA"]
WITH_TITLE = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}}


@pytest.mark.parametrize("model", MODELS)
def test_the_feature_is_the_projected_vector_of_each_item(build_on_vectors: Build, model: str) -> None:
    built = build_on_vectors(model, selected_features=["item_embedding"])
    layer = built.model.feature_embed_layer
    for items in (torch.tensor([[3, 60, 0]]), torch.arange(1, 61).repeat(2, 2)):  # fewer and more than there are items
        sparse, dense = layer(None, items)
        expected = built.vectors[items - 1] @ layer.project.weight.T + layer.project.bias
        assert sparse["item"] is None and dense["item"].shape == (*items.shape, 1, 16)
        assert torch.allclose(dense["item"].squeeze(-2)[items > 0], expected[items > 0], atol=1e-5)
        assert (dense["item"].squeeze(-2)[items == 0] == layer.project.bias).all()


@pytest.mark.parametrize("model", MODELS)
def test_it_stands_beside_fields_of_the_item_file(build_on_vectors: Build, model: str) -> None:
    built = build_on_vectors(model, selected_features=["title", "item_embedding"], **WITH_TITLE)
    sparse, dense = built.model.feature_embed_layer(None, torch.tensor([[1, 2]]))
    assert sparse["item"].shape == dense["item"].shape == (1, 2, 1, 16)
    assert built.model.eval().full_sort_predict(built.loaders.train._dataset[torch.arange(5)]).shape == (5, 61)


@pytest.mark.parametrize("model", MODELS)
def test_the_projection_learns_and_neither_vectors_nor_item_table_are_set(build_on_vectors: Build, model: str) -> None:
    built = build_on_vectors(model, selected_features=["item_embedding"])
    table = built.model.item_embedding.weight.detach().clone()
    coverage = attach_item_embedding(built.model, built.dataset, built.config)
    assert coverage is not None and coverage.covered == 60
    assert torch.equal(built.model.item_embedding.weight, table)
    vectors = built.model.feature_embed_layer.vectors.clone()
    built.model.calculate_loss(built.loaders.train._dataset[torch.arange(50)]).backward()
    assert built.model.feature_embed_layer.project.weight.grad.abs().max() > 0
    assert torch.equal(built.model.feature_embed_layer.vectors, vectors)
    assert torch.equal(vectors[1:], built.vectors)


@pytest.mark.parametrize("model", MODELS)
def test_it_trains_on_one_row_per_user_and_gives_back_its_best_checkpoint(build_on_vectors: Build, model: str) -> None:
    built = build_on_vectors(model, selected_features=["item_embedding"], epochs=1)
    samples = choose_samples(built.config, built.model, built.loaders)
    assert samples.name == "user"
    trainer = build_trainer(built.config, built.model, built.checkpoint, samples.loss_of_rows)
    built.config["item_embedding"] = None  # a store given as an object has no place in a checkpoint
    trainer.fit(samples.loader, built.loaders.valid, verbose=False)
    learned = built.model.feature_embed_layer.project.weight.detach().clone()
    torch.nn.init.zeros_(built.model.feature_embed_layer.project.weight)
    trainer.evaluate(built.loaders.test, load_best_model=True)
    assert torch.equal(built.model.feature_embed_layer.project.weight, learned)


@pytest.mark.parametrize("model", MODELS)
def test_without_the_name_the_model_is_recboles_and_the_store_initialises_its_items(
    build_on_vectors: Build, model: str
) -> None:
    keys = {"selected_features": ["title"], **WITH_TITLE, "item_embedding_transform": [{"pca": 16}]}
    built = build_on_vectors(model, **keys)
    assert type(built.model.feature_embed_layer).__name__ == "FeatureSeqEmbLayer"
    before = built.model.item_embedding.weight.detach().clone()
    attach_item_embedding(built.model, built.dataset, built.config)
    assert (built.model.item_embedding.weight[1:] != before[1:]).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_feature_without_a_store_is_an_error(build: Build, model: str) -> None:
    with pytest.raises(AttachError, match=f"{model} is made of item vectors"):
        build(model, selected_features=["item_embedding"])
