"""The hook finds the items of every kind of model, and touches nothing else of it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from recbole.utils import KGDataLoaderState

from recbole_ext.attach import ANY_WIDTH, Place, attach_item_embedding, item_tables
from recbole_ext.errors import AttachError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import build_trainer

Build = Callable[..., SimpleNamespace]
ONE_NEGATIVE = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
ITEM_FEATURES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class", "year"]}}
GRAPH = {
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
    }
}
KINDS: dict[str, dict[str, Any]] = {
    "SASRec": {},
    "FISM": ONE_NEGATIVE,
    "FPMC": ONE_NEGATIVE,
    "HGN": {},
    "NeuMF": {**ONE_NEGATIVE, "mf_embedding_size": 16, "mlp_embedding_size": 16},
    "RepeatNet": {},
    "SimpleX": ONE_NEGATIVE,
    "FM": {**ONE_NEGATIVE, **ITEM_FEATURES},
    "DeepFM": {**ONE_NEGATIVE, **ITEM_FEATURES},
    "DIN": {**ONE_NEGATIVE, **ITEM_FEATURES},
    "CFKG": {**ONE_NEGATIVE, **GRAPH},
    "CKE": {**ONE_NEGATIVE, **GRAPH},
    "MKR": {**ONE_NEGATIVE, **GRAPH},
}
TABLES = {
    "SASRec": ["item_embedding"],
    "FPMC": ["IU_emb", "LI_emb", "IL_emb"],
    "NeuMF": ["item_mf_embedding", "item_mlp_embedding"],
    "CFKG": ["entity_embedding"],
    "DIN": ["embedding_layer.token_embedding_table.item"],
    "FM": ["token_embedding_table"],
}


def with_store(built: SimpleNamespace, mode: str = "full") -> torch.Tensor:
    """Attach a store with a vector of its own for each item; returns the vectors in the order of internal ids."""
    tokens = [str(token) for token in built.dataset.field2id_token["item_id"][1:]]
    vectors = torch.randn(len(tokens), 16, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(2)).tolist()
    store = ItemEmbeddingStore(vectors[order], [tokens[row] for row in order])
    keys = {"item_embedding": store, "item_embedding_mode": mode, "item_embedding_scale": None, "seed": 1}
    absent = dict.fromkeys(("item_embedding_transform", "item_embedding_missing"))
    attach_item_embedding(built.model, built.dataset, {**keys, **absent})
    return vectors


@pytest.mark.parametrize("model", KINDS)
def test_each_item_gets_its_own_vector_and_nothing_else_changes(build: Build, model: str) -> None:
    built = build(model, "rich", **KINDS[model])
    before = {name: value.clone() for name, value in built.model.state_dict().items()}
    vectors = with_store(built)
    tables = item_tables(built.model, "item_id")
    assert [table.name for table in tables] == TABLES.get(model, [table.name for table in tables])
    for table in tables:
        rows = slice(table.first, table.first + len(vectors))
        assert torch.equal(table.embedding.weight[rows], vectors)
        (name,) = (name for name, value in built.model.named_parameters() if value is table.embedding.weight)
        before[name][rows] = vectors
    after = built.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("model", KINDS)
def test_every_table_of_the_map_is_one_that_the_model_learns_by(build: Build, model: str) -> None:
    built = build(model, "rich", **KINDS[model], epochs=1, training_samples="augmented")
    tables = item_tables(built.model, "item_id")
    before = [table.embedding.weight.detach().clone() for table in tables]
    trainer = build_trainer(built.config, built.model, built.checkpoint)
    trainer._train_epoch(built.loaders.train, 0)
    for table, old in zip(tables, before, strict=True):
        rows = slice(table.first, table.first + 60)
        assert not torch.equal(table.embedding.weight[rows], old[rows]), table.name


@pytest.mark.parametrize("mode", ["frozen", "adapter", "bounded", "dual"])
@pytest.mark.parametrize("model", ["FPMC", "FM", "DIN", "CFKG", "NeuMF"])
def test_every_mode_goes_wherever_the_items_are(build: Build, model: str, mode: str) -> None:
    built = build(model, "rich", **KINDS[model])
    before = [table.embedding.weight.detach().clone() for table in item_tables(built.model, "item_id")]
    vectors = with_store(built, mode)
    if model == "CFKG":
        built.loaders.train.set_mode(KGDataLoaderState.RSKG)
    samples = next(iter(built.loaders.train))
    for table, own in zip(item_tables(built.model, "item_id"), before, strict=True):
        weight, rows = table.embedding.weight, slice(table.first, table.first + len(vectors))
        assert weight.shape == own.shape
        assert torch.equal(weight[: table.first], own[: table.first])
        assert torch.equal(weight[rows.stop :], own[rows.stop :])
        assert (mode in ANY_WIDTH) is not torch.equal(weight[rows], vectors)
    loss = built.model.calculate_loss(samples)
    torch.stack(loss if isinstance(loss, tuple) else (loss,)).sum().backward()


def test_the_vectors_are_what_the_model_reads_for_the_item(build: Build) -> None:
    """Were the table's other features in the way, an item would get the row of an age or a class."""
    built = build("FM", "rich", **KINDS["FM"])
    vectors = with_store(built)
    samples = built.loaders.test._dataset[torch.arange(5)]
    names = built.model.token_field_names
    embedded = built.model.embed_token_fields(torch.stack([samples[name] for name in names], dim=1))
    assert torch.equal(embedded[:, names.index("item_id")], vectors[samples["item_id"] - 1])


def test_a_class_of_ones_own_says_where_its_items_are(build: Build) -> None:
    built = build("SASRec")

    class Joint(type(built.model)):  # type: ignore[misc]
        item_tables = (Place("ui_embedding", after="n_users"),)

    built.model.__class__ = Joint
    built.model.n_users = 41
    built.model.ui_embedding = torch.nn.Embedding(41 + 61, 16)
    users = built.model.ui_embedding.weight[:42].detach().clone()
    vectors = with_store(built)
    assert torch.equal(built.model.ui_embedding.weight[42:], vectors)
    assert torch.equal(built.model.ui_embedding.weight[:42], users)


@pytest.mark.parametrize("model", ["ItemKNN", "MultiVAE", "LR"])
def test_a_model_without_a_table_of_items_that_it_reads_is_told_so(build: Build, model: str) -> None:
    built = build(model, mlp_hidden_size=[8], latent_dimension=8, **ONE_NEGATIVE)
    with pytest.raises(AttachError, match=f"{model} keeps its items in no nn.Embedding"):
        with_store(built)
