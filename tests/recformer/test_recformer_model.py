"""RECFORMER as a RecBole model: scores, loss, two stages, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import EncoderError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import build_trainer, choose_samples

Build = Callable[..., SimpleNamespace]


@pytest.fixture
def recformer(build: Build, tiny_encoders: dict[str, Path]) -> Callable[..., SimpleNamespace]:
    def make(name: str = "bert", **settings: Any) -> SimpleNamespace:
        keys = {"encoder": str(tiny_encoders[name]), "attribute_tokens": 6, "max_tokens": 64, "max_items": 50}
        return build("RECFORMER", **{**keys, "train_batch_size": 16, "learning_rate": 1e-3, **settings})

    return make


def fit(built: SimpleNamespace, on_epoch: Any = None) -> Any:
    samples = choose_samples(built.config, built.model, built.loaders)
    assert samples.name == "text"
    trainer = build_trainer(built.config, built.model, built.checkpoint)
    trainer.on_epoch = on_epoch
    trainer.fit(samples.loader, built.loaders.valid, verbose=False)
    return trainer


def test_scores_are_cosines_between_the_sequences_text_and_the_items(recformer: Any) -> None:
    built = recformer()
    model = built.model.eval()
    batch = built.loaders.valid._dataset[np.arange(5)]
    with torch.no_grad():
        scores = model.full_sort_predict(batch)
        for row in range(5):
            length = int(batch["item_length"][row])
            sequence = batch["item_id_list"][row, :length].numpy()
            user = model.encoder.pool(model.tokens.batch([sequence]))[0]
            item = model.encoder.pool(model.tokens.batch([np.array([9])]))[0]
            expected = torch.nn.functional.cosine_similarity(user, item, dim=0)
            torch.testing.assert_close(scores[row, 9], expected, rtol=1e-4, atol=1e-5)
        batch["item_id"] = torch.full((5,), 9)
        torch.testing.assert_close(model.predict(batch), scores[:, 9])


def test_the_window_of_its_longformer_is_a_key(recformer: Any) -> None:
    for given, found in ({}, 8), ({"attention_window": 16}, 16):
        layers = recformer("longformer", **given).model.encoder.base.encoder.layer
        assert {2 * layer.attention.self.one_sided_attn_window_size for layer in layers} == {found}
    with pytest.raises(EncoderError, match="attention_window: .* is a bert"):
        recformer(attention_window=16)


def test_a_batch_and_its_order_do_not_change_a_users_scores(recformer: Any) -> None:
    built = recformer()
    batch = built.loaders.valid._dataset[np.arange(8)]
    with torch.no_grad():
        forward = built.model.eval().full_sort_predict(batch)
        torch.testing.assert_close(built.model.full_sort_predict(batch[3:5]), forward[3:5], rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_cross_entropy_of_cosines_over_the_temperature(recformer: Any) -> None:
    built = recformer(temperature=0.1)
    model = built.model.eval()
    batch = built.loaders.train._dataset[np.arange(6)]
    with torch.no_grad():
        scores = model.full_sort_predict(batch)[:, 1:] / 0.1
        expected = torch.nn.functional.cross_entropy(scores, batch["item_id"] - 1)
        torch.testing.assert_close(model.calculate_loss(batch), expected, rtol=1e-4, atol=1e-5)


def test_sampled_negatives_bound_the_loss_from_below(recformer: Any) -> None:
    full, sampled = recformer(), recformer(negatives=5)
    batch = full.loaders.train._dataset[np.arange(6)]
    with torch.no_grad():
        for built in (full, sampled):
            built.model.eval().encode_items()
        assert sampled.model.calculate_loss(batch) < full.model.calculate_loss(batch)


def test_two_stages_train_the_plm(recformer: Any) -> None:
    built = recformer(stage_one_epochs=2, stage_two_epochs=2)
    before = {name: value.clone() for name, value in built.model.state_dict().items()}
    trainer = fit(built)
    assert [entry["epoch"] for entry in trainer.curve] == [0, 1, 2, 3]
    after = built.model.state_dict()
    assert not torch.equal(
        before["bert.encoder.layer.0.output.dense.weight"], after["bert.encoder.layer.0.output.dense.weight"]
    )
    assert torch.equal(
        before["bert.embeddings.word_embeddings.weight"], after["bert.embeddings.word_embeddings.weight"]
    )


def test_the_exported_store_is_what_the_plm_of_stage_ones_best_epoch_makes_of_the_items(
    recformer: Any, tmp_path: Path
) -> None:
    built = recformer(
        stage_one_epochs=1,
        stage_two_epochs=0,
        export_item_embedding=str(tmp_path / "store"),
        export_encoder=str(tmp_path / "plm"),
    )
    fit(built)
    model = built.model
    store = ItemEmbeddingStore.load(tmp_path / "store")
    assert len(store.items) == 60 and store.embeddings.shape == (60, 32)
    rows = torch.as_tensor([built.dataset.token2id("item_id", item) for item in store.items])
    torch.testing.assert_close(store.embeddings, model.encoder.encode_items(model.tokens)[rows])
    (read,) = store.meta["tuned_on"]["sources"].items()
    assert read == ("tiny", {"histories": Dataset.of_config(built.config).histories_request()})
    # The matrix that the epoch trained against was encoded before it.
    assert (store.embeddings - model.item_embedding.weight[rows]).abs().max() > 1e-4
    # The exported PLM makes the same of the items.
    again = recformer(encoder=str(tmp_path / "plm")).model
    torch.testing.assert_close(again.encoder.encode_items(again.tokens), model.encoder.encode_items(model.tokens))


def test_stage_one_ends_when_patience_does(recformer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_ext.models.recformer_trainer import RECFORMERTrainer

    scores = iter(range(100, 0, -1))  # worse every time
    monkeypatch.setattr(RECFORMERTrainer, "_valid_epoch", lambda *_, **__: (float(next(scores)), {}))
    built = recformer(stage_one_epochs=9, stage_one_patience=2, stage_two_epochs=9, stage_two_patience=1)
    # The first epoch is the best: 1 + 2 epochs, then 1 of stage two.
    trainer = fit(built)
    assert len(trainer.curve) == 4
    assert (trainer.epoch_limit, trainer.stopped_early) == (3 + 9, True)


def test_a_stage_that_its_limit_ended_is_told_whatever_ended_the_other(
    recformer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.models.recformer_trainer import RECFORMERTrainer

    scores = iter([1, 2, 3, 0, 0, 0])
    monkeypatch.setattr(RECFORMERTrainer, "_valid_epoch", lambda *_, **__: (float(next(scores)), {}))
    trainer = fit(recformer(stage_one_epochs=3, stage_one_patience=2, stage_two_epochs=9, stage_two_patience=1))
    assert (len(trainer.curve), trainer.epoch_limit, trainer.stopped_early) == (4, 4, False)


def test_weights_that_are_loaded_bring_their_item_matrix(recformer: Any) -> None:
    """Stage two trains on against a matrix that its PLM no longer makes."""
    built, again = recformer(), recformer()
    batch = built.loaders.train._dataset[np.arange(4)]
    with torch.no_grad():
        built.model.eval().encode_items()
        built.model.item_embedding.weight.add_(torch.randn(built.model.item_embedding.weight.shape))
        again.model.eval().load_state_dict(built.model.state_dict())
        torch.testing.assert_close(again.model.full_sort_predict(batch), built.model.full_sort_predict(batch))


def test_weights_that_never_encoded_the_items_bring_no_matrix(recformer: Any) -> None:
    built, again = recformer(), recformer()
    again.model.load_state_dict(built.model.state_dict())
    batch = built.loaders.train._dataset[np.arange(2)]
    with torch.no_grad():
        again.model.eval().full_sort_predict(batch)
    assert again.model.item_embedding.weight.abs().sum() > 0 and bool(again.model.items_are_current)
    assert not built.model.items_are_current


def test_a_target_is_no_negative_of_itself(recformer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    built = recformer(negatives=2)
    batch = built.loaders.train._dataset[np.arange(3)]
    target = batch["item_id"]
    other = torch.where(target == 1, 2, 1)

    def loss(negatives: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(torch, "randint", lambda *_, **__: negatives)
        return built.model.calculate_loss(batch)

    with torch.no_grad():
        built.model.eval().encode_items()
        with_itself = loss(torch.stack([target, other], dim=-1))
        alone = loss(other.unsqueeze(-1))
    torch.testing.assert_close(with_itself, alone)


def test_gradients_are_clipped_where_that_is_asked_for(recformer: Any) -> None:
    one, other = (
        recformer(stage_one_epochs=1, stage_two_epochs=0, clip_grad_norm=clip) for clip in (None, {"max_norm": 1e-9})
    )
    seen: list[float] = []

    def norm(built: Any) -> float:
        return float(sum(p.grad.pow(2).sum() for p in built.model.parameters() if p.grad is not None) ** 0.5)

    for built in (one, other):
        fit(built)
        seen.append(norm(built))
    assert seen[0] > 1e-6 and seen[1] <= 1.01e-9


@pytest.mark.parametrize(("one", "two"), [(1, 2), (1, 0)])
def test_a_training_ends_at_the_limit_where_its_last_stage_does(recformer: Any, one: int, two: int) -> None:
    built = recformer(stage_one_epochs=one, stage_two_epochs=two, epochs=300)
    told: list[int] = []
    trainer = fit(built, on_epoch=lambda curve, limit, direction: told.append(limit))
    assert set(told) == {one + two} == {trainer.epoch_limit} and not trainer.stopped_early


def test_without_stage_one_stage_two_trains_against_what_the_plm_makes_of_the_items(recformer: Any) -> None:
    built = recformer(stage_one_epochs=0, stage_two_epochs=1)
    model = built.model
    items = model.encoder.encode_items(model.tokens)
    fit(built)
    torch.testing.assert_close(model.item_embedding.weight, items)


def test_an_epoch_predicts_one_item_of_every_user(recformer: Any) -> None:
    built = recformer()
    trainer = build_trainer(built.config, built.model, built.checkpoint)
    dataset = built.loaders.train._dataset
    epochs = [[part for parts in trainer._batches(dataset, epoch) for part in parts] for epoch in (0, 1)]
    for parts in epochs:
        users = torch.cat([part["user_id"] for part in parts])
        assert len(users) == len(users.unique()) == len(dataset.inter_feat["user_id"].unique())
    targets = [torch.cat([part["item_id"] for part in parts]).sort().values for parts in epochs]
    assert not torch.equal(*targets)


def test_parameter_names_are_those_of_the_public_checkpoints(recformer: Any) -> None:
    names = set(recformer("longformer").model.state_dict())
    assert "longformer.embeddings.item_position_embeddings.weight" in names
    assert "item_embedding.weight" in names
    assert not any(name.startswith("encoder.") for name in names)


def test_the_plm_learns_to_find_the_next_item(recformer: Any) -> None:
    model = recformer().model.train()
    model.encode_items()
    batch = recformer().loaders.train._dataset[np.arange(32)]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(40):
        loss = model.calculate_loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert not model.item_embedding.weight.requires_grad


def test_items_are_read_by_the_fields_that_the_dataset_names(
    tmp_path: Path, build: Build, tiny_encoders: dict[str, Path], tokenizer: Any
) -> None:
    """``item_text`` of the run's keys decides, and another item field is found under its own name."""
    folder = tmp_path / "own"
    folder.mkdir()
    rows = [f"u{user}\ti{item}\t{item}" for user in range(3) for item in range(5)]
    (folder / "own.inter").write_text("\n".join(["user_id:token\tasin:token\ttimestamp:float", *rows]) + "\n")
    items = [f"i{item}\tthing\tacme\tlong words" for item in range(5)]
    header = "asin:token\ttitle:token_seq\tbrand:token_seq\tdescription:token_seq"
    (folder / "own.item").write_text("\n".join([header, *items]) + "\n")

    def words_of(**keys: Any) -> set[str]:
        built = build(
            "RECFORMER",
            dataset="own",
            data_path=str(tmp_path),
            ITEM_ID_FIELD="asin",
            load_col={"inter": ["user_id", "asin", "timestamp"]},
            encoder=str(tiny_encoders["bert"]),
            **keys,
        )
        return set(tokenizer.convert_ids_to_tokens(built.model.tokens.ids.tolist()))

    assert {"brand", "ac", "##me"} <= words_of(item_text=["Brand: {brand}"])
    assert "thing" not in words_of(item_text=["Brand: {brand}"])
    assert {"thing", "description"} <= words_of()
    assert "description" not in words_of(item_attributes=["title"], item_text=["{description}"])
