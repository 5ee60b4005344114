"""What holds for every model whose items are made of vectors."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_ext.attach import attach_item_embedding
from recbole_ext.errors import AttachError, ConfigurationError
from recbole_ext.models import OWN_MODELS, model_class
from recbole_ext.models.item_vectors import FromItemVectors
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import choose_samples
from recbole_ext.training.exactness import scores_are_dot_products
from recbole_ext.training.rows import UserRowLoader

Build = Callable[..., SimpleNamespace]
MODELS = [name for name in OWN_MODELS if issubclass(model_class(name), FromItemVectors)]

# Trainable numbers beside those of the model without its item table (16 wide): the padding row, and what makes items.
# 60 items, vectors 24 wide.
EXPERTS = 8 * (24 + 24 * 16) + 2 * 24 * 8
OF_ITEMS = {
    "UniSRec": 16 + EXPERTS,
    "UniSRecID": 16 + EXPERTS + 60 * 16,
    "WhitenRec": 16 + (24 * 16 + 16) + (16 * 16 + 16),
    "ZESRec": 16 + 24 * 16 + 16,
    "AlphaFuse": 16 + 60 * 4,
}
SETTINGS = {"AlphaFuse": {"null_dim": 4}}


@pytest.fixture
def built(build_on_vectors: Build, request: pytest.FixtureRequest) -> SimpleNamespace:
    return build_on_vectors(request.param, **SETTINGS.get(request.param, {}))


def whole(built: SimpleNamespace) -> torch.Tensor:
    """RecBole's samples, all of them."""
    dataset = built.loaders.train._dataset
    return dataset[torch.arange(len(dataset))]


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_trains_on_one_row_per_user(built: SimpleNamespace) -> None:
    assert choose_samples(built.config, built.model, built.loaders).name == "user"
    assert built.loaders.test._dataset.trim_padding


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_scores_by_a_dot_product_so_that_every_training_loss_fits(built: SimpleNamespace) -> None:
    assert scores_are_dot_products(built.model, built.loaders.valid._dataset)
    samples = whole(built)
    built.model.eval()
    scores = built.model.full_sort_predict(samples)
    assert scores.shape == (len(samples), 61)
    assert torch.allclose(built.model.predict(samples), scores[range(len(scores)), samples["item_id"]], atol=1e-5)
    loss = built.model.calculate_loss(samples)
    assert torch.allclose(loss, cross_entropy(scores, samples["item_id"]), atol=1e-5)


@pytest.mark.parametrize("training_loss", ["softmax", "sampled_softmax", "bce"])
@pytest.mark.parametrize("model", MODELS)
def test_losses_for_large_catalogues_apply(build_on_vectors: Build, model: str, training_loss: str) -> None:
    built = build_on_vectors(model, training_loss=training_loss, **SETTINGS.get(model, {}))
    samples = choose_samples(built.config, built.model, built.loaders)
    rows = next(iter(samples.loader))[0]
    built.model.eval()
    assert samples.loss_of_rows is not None
    loss = samples.loss_of_rows(built.model, rows)
    assert loss.isfinite()
    if training_loss == "softmax":
        from recbole_ext.training.objective import row_loss

        assert torch.allclose(loss, row_loss(built.model, rows), atol=1e-5)


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_has_the_parameters_of_the_paper_and_no_others(built: SimpleNamespace, build: Build) -> None:
    plain = build("GRU4Rec" if type(built.model).__name__ == "ZESRec" else "SASRec", MAX_ITEM_LIST_LENGTH=12)
    rest = sum(p.numel() for name, p in plain.model.named_parameters() if not name.startswith("item_embedding"))
    found = sum(p.numel() for p in built.model.parameters() if p.requires_grad)
    assert found == rest + OF_ITEMS[type(built.model).__name__]


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_every_parameter_learns_and_the_vectors_stay(built: SimpleNamespace) -> None:
    vectors = {name: buffer.clone() for name, buffer in built.model.named_buffers()}
    optimiser = torch.optim.Adam(built.model.parameters())
    built.model.train()
    for _ in range(2):  # where a gate starts at zero, what it multiplies learns from the second step on
        optimiser.zero_grad()
        built.model.calculate_loss(whole(built)).backward()
        optimiser.step()
    without = [n for n, p in built.model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not without
    assert vectors and all(torch.equal(buffer, vectors[name]) for name, buffer in built.model.named_buffers())


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_items_are_computed_once_per_step_and_once_per_evaluation(built: SimpleNamespace) -> None:
    from torch.nn.utils import parametrize

    function = built.model.item_embedding.parametrizations.weight[0]
    computed: list[torch.Tensor] = []
    function.register_forward_hook(lambda module, given, made: computed.append(made))
    loader = UserRowLoader(built.config, built.loaders.train._dataset, None)
    with parametrize.cached():
        from recbole_ext.training.objective import row_loss

        row_loss(built.model, next(iter(loader))[0])
    assert [len(made) for made in computed] == [61]
    built.model.calculate_loss(whole(built))
    assert len(computed) == 2
    built.model.eval()
    with parametrize.cached():
        for batch in (whole(built), whole(built)):
            built.model.full_sort_predict(batch)
    assert len(computed) == 3


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_the_hook_leaves_its_items_alone_and_knows_their_coverage(built: SimpleNamespace) -> None:
    built.model.eval()
    before = built.model.item_embedding.weight.clone()
    coverage = attach_item_embedding(built.model, built.dataset, built.config)
    assert torch.equal(built.model.item_embedding.weight, before)
    assert coverage is not None and coverage.as_dict() == {"items": 60, "covered": 60, "missing": 0}


def test_items_that_the_store_lacks_follow_the_policy(build_on_vectors: Build, store: ItemEmbeddingStore) -> None:
    partial = ItemEmbeddingStore(store.embeddings[:50], store.items[:50])
    with pytest.raises(AttachError, match="10 of 60 items"):
        build_on_vectors("ZESRec", item_embedding=partial)
    built = build_on_vectors("ZESRec", item_embedding=partial, item_embedding_missing="mean")
    assert built.model.item_vector_coverage.missing == 10


def test_transforms_apply_before_the_model(build_on_vectors: Build) -> None:
    built = build_on_vectors("ZESRec", item_embedding_transform=[{"pca": 6}])
    assert built.model.item_embedding.parametrizations.weight[0].vectors.shape == (60, 6)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"item_embedding": None}, AttachError, "UniSRec is made of item vectors.*needs a store"),
        ({"item_embedding_mode": "frozen"}, ConfigurationError, "item_embedding_mode: UniSRec decides"),
        ({"loss_type": "BPR"}, ConfigurationError, "loss_type: UniSRec is trained with CE"),
    ],
)
def test_what_it_cannot_be_is_said(build_on_vectors: Build, keys: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_on_vectors("UniSRec", **keys)
