"""Sources made of other sources: fused, shuffled, Gaussian."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_shops import write

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, StoreError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.transforms import apply_transforms
from recbole_ext.vectors import parse_source
from recbole_ext.vectors.controls import Gaussian, Shuffled
from recbole_ext.vectors.lexical import Lexical

LEXICAL: dict[str, Any] = {"lexical": "tfidf", "dim": 4}
BEHAVIOUR: dict[str, Any] = {"cooccurrence": "ppmi", "dim": 4}


def made(settings: dict[str, Any], dataset: Dataset, folder: Path) -> ItemEmbeddingStore:
    source = parse_source(settings, "test")
    assert source is not None
    return ItemEmbeddingStore.load(source.make_once(dataset, folder))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shuffled_rows_are_the_same_rows_of_other_items(shop: Dataset, tmp_path: Path) -> None:
    own, shuffled = made(LEXICAL, shop, tmp_path), made({"shuffled": LEXICAL}, shop, tmp_path)
    assert own.items == shuffled.items
    assert (own.embeddings != shuffled.embeddings).any(1).sum() > 20
    torch.testing.assert_close(own.embeddings.sort(dim=0).values, shuffled.embeddings.sort(dim=0).values)


@given(rows=st.integers(1, 40), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_gaussian_vectors_have_the_mean_and_the_covariance_of_the_source(rows: int, width: int, seed: int) -> None:
    vectors = torch.randn(rows, width, generator=generator(seed)) @ torch.diag(torch.arange(1.0, width + 1)) + 3
    control = Gaussian(gaussian=Lexical(lexical="tfidf"), seed=seed)
    drawn = control._drawn(vectors, generator(seed))
    torch.testing.assert_close(drawn.mean(0), vectors.mean(0), atol=1e-3, rtol=1e-3)
    centred, own = drawn - drawn.mean(0), vectors - vectors.mean(0)
    torch.testing.assert_close(centred.T @ centred, own.T @ own, atol=1e-2, rtol=1e-3)


def test_gaussian_vectors_say_nothing_about_their_items(shop: Dataset, tmp_path: Path) -> None:
    own, drawn = made(LEXICAL, shop, tmp_path), made({"gaussian": LEXICAL}, shop, tmp_path)
    cosine = torch.nn.functional.cosine_similarity
    assert own.items == drawn.items
    assert (
        abs(float(cosine(own.embeddings - own.embeddings.mean(0), drawn.embeddings - own.embeddings.mean(0)).mean()))
        < 0.5
    )
    assert not torch.allclose(made({"gaussian": LEXICAL, "seed": 1}, shop, tmp_path).embeddings, drawn.embeddings)


def test_a_control_takes_its_part_from_the_parts_own_store(shop: Dataset, tmp_path: Path) -> None:
    made({"shuffled": LEXICAL}, shop, tmp_path)
    part = parse_source(LEXICAL, "test")
    assert part is not None and part.store_path(shop, tmp_path).is_dir()
    assert Shuffled(shuffled=part).parts() == [part]


def test_fused_vectors_stand_side_by_side_each_after_its_own_transform(shop: Dataset, tmp_path: Path) -> None:
    words, behaviour = made(LEXICAL, shop, tmp_path), made(BEHAVIOUR, shop, tmp_path)
    transform = ["center", {"pca": 2}]
    fused = made({"fused": [{"of": LEXICAL, "transform": transform}, BEHAVIOUR]}, shop, tmp_path)
    expected = apply_transforms(words.embeddings, transform)
    assert set(fused.items) == set(words.items) | set(behaviour.items)
    torch.testing.assert_close(fused.embeddings[fused.rows(words.items), :2], expected)
    torch.testing.assert_close(fused.embeddings[fused.rows(behaviour.items), 2:], behaviour.embeddings)


def test_an_item_that_a_part_lacks_gets_the_mean_there_and_that_is_said(shop: Dataset, tmp_path: Path) -> None:
    source = parse_source({"fused": [LEXICAL, BEHAVIOUR], "how": "sum"}, "test")
    assert source is not None
    result = source.make(shop, tmp_path / "store", tmp_path)
    fused, words, behaviour = (
        ItemEmbeddingStore.load(tmp_path / "store"),
        made(LEXICAL, shop, tmp_path),
        made(BEHAVIOUR, shop, tmp_path),
    )
    row = fused.embeddings[fused.rows(["marker0"])[0]]
    expected = words.embeddings[words.rows(["marker0"])[0]] + behaviour.embeddings.mean(0)
    torch.testing.assert_close(row, expected)
    lacking, lopsided = result.notes
    assert lacking == "2 items that cooccurrence ppmi lacks get the mean of its vectors"
    assert "variances are 0.2" in lopsided and "[center, {scale: 1}]" in lopsided


def test_parts_of_equal_variance_are_put_together_without_a_word(shop: Dataset, tmp_path: Path) -> None:
    parts = [{"of": part, "transform": ["center", {"pca": 2}, {"scale": 1}]} for part in (LEXICAL, BEHAVIOUR)]
    source = parse_source({"fused": parts}, "test")
    assert source is not None
    assert not any("variances" in note for note in source.make(shop, tmp_path / "store", tmp_path).notes)


def with_a_later_item(folder: Path, title: str) -> Dataset:
    """Five items until time 60, and a sixth after the cut there, of this title."""
    rows = [f"u{user}\ti{(user + step) % 5}\t{10 * step + user}" for user in range(8) for step in range(5)]
    later = ["u0\ti1\t70", "u1\tlater\t71", "u2\ti2\t90", "u3\tlater\t91"]
    words = ["red", "blue red", "green", "blue green", "red green"]
    titles = [f"i{item}\t{text} thing" for item, text in enumerate(words)]
    write(folder, "cut", ["user_id:token\titem_id:token\ttimestamp:float", *rows, *later], [*titles, f"later\t{title}"])
    split = {"temporal": {"valid": 60, "test": 80}}
    keys = {"eval_args": {"split": split, "group_by": "user", "order": "TO", "mode": "full"}, "model": "SASRec"}
    return Dataset.named("cut", folder, configs=folder, keys=keys)


def test_what_comes_after_the_cut_decides_nothing_in_fused_vectors(tmp_path: Path) -> None:
    """Its vector moves neither a part's transforms nor what items get that a part lacks."""
    vectors = torch.randn(6, 4, generator=generator(1))
    items = [*(f"i{item}" for item in range(5)), "later"]
    found = []
    for change in (0.0, 9.0):
        folder = tmp_path / str(change)
        dataset = with_a_later_item(folder, "red thing")
        changed = vectors.clone()
        changed[5] += change
        ItemEmbeddingStore(changed, items).save(folder / "whole")
        ItemEmbeddingStore(changed[1:], items[1:]).save(folder / "lacking")
        parts = [{"store": str(folder / name)} for name in ("whole", "lacking")]
        transform = ["center", {"pca": 2}, "whiten", {"scale": 0.1}]
        fused = made({"fused": [{"of": part, "transform": transform} for part in parts]}, dataset, folder)
        found.append(fused.embeddings[fused.rows(items)])
    assert torch.allclose(found[0][:5], found[1][:5], atol=1e-6)
    assert not torch.allclose(found[0][5], found[1][5], atol=0.1)
    assert torch.allclose(found[0][:5, :2].mean(dim=0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(found[0][0, 2:], torch.zeros(2), atol=1e-6), "the mean of the items of training"


def test_fused_vectors_of_other_training_items_are_another_store(tmp_path: Path) -> None:
    dataset, source = with_a_later_item(tmp_path, "red thing"), parse_source({"fused": [LEXICAL, LEXICAL]}, "test")
    assert source is not None
    identities = [source.identity(dataset)]
    for valid, test in ((72, 90.5), (60, 85)):
        split = {"temporal": {"valid": valid, "test": test}}
        args = {**dataset.keys["eval_args"], "split": split}
        identities.append(source.identity(dataset.with_keys({"eval_args": args})))
    assert identities[0] != identities[1], "later is an item of training before 72"
    assert identities[0] == identities[2], "the same items train"


def test_a_part_without_any_item_of_training_is_refused(tmp_path: Path) -> None:
    dataset = with_a_later_item(tmp_path, "red thing")
    ItemEmbeddingStore(torch.ones(1, 4), ["later"]).save(tmp_path / "new")
    with pytest.raises(
        ConfigurationError, match="fused: store .*new has no vector of an item of cut's training period"
    ):
        made({"fused": [LEXICAL, {"store": str(tmp_path / "new")}]}, dataset, tmp_path)


@pytest.mark.parametrize("kind", ["fused", "shuffled", "gaussian"])
def test_vectors_made_of_a_store_that_was_learnt_from_what_comes_later_are_refused_as_it_is(
    kind: str, tmp_path: Path
) -> None:
    dataset = with_a_later_item(tmp_path, "red thing")
    whole = dataset.with_keys({"eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}})
    learnt = {"sources": {"cut": {"histories": whole.histories_request()}}}
    items = [f"i{item}" for item in range(5)]
    by_request = parse_source(BEHAVIOUR, "test")
    assert by_request is not None
    by_request.make(whole, tmp_path / "by request", tmp_path)
    ItemEmbeddingStore(torch.eye(5), items, {"tuned_on": learnt}).save(tmp_path / "by meta")
    ItemEmbeddingStore(torch.eye(5), items).save(tmp_path / "innocent")
    for name in ("by request", "by meta", "innocent"):
        part: Any = {"store": str(tmp_path / name)}
        source = parse_source({kind: [LEXICAL, part] if kind == "fused" else part}, "test")
        assert source is not None
        source.make(whole, tmp_path / f"made of {name}", tmp_path)
        given = parse_source({"store": str(tmp_path / f"made of {name}")}, "test")
        assert given is not None
        if name == "innocent":
            given.request(dataset)
        else:
            with pytest.raises(ConfigurationError, match="was made of interactions of cut of all times"):
                given.request(dataset)


def test_a_fine_tuned_matrix_is_made_by_a_run(shop: Dataset, tmp_path: Path, tiny_encoders: dict[str, Path]) -> None:
    encoder = {"encoder": str(tiny_encoders["bert"])}
    source = parse_source({"finetune": encoder}, "test")
    assert source is not None
    with pytest.raises(StoreError, match="is made by a run of RECFORMER"):
        source.make_once(shop, tmp_path)
    # What a run exports is taken as it is.
    ItemEmbeddingStore(torch.eye(2), ["a", "b"]).save(source.store_path(shop, tmp_path))
    assert source.make_once(shop, tmp_path) == source.store_path(shop, tmp_path)
    assert source.width(shop) == 32
