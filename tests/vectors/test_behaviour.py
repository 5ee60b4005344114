"""Sources of behaviour: near items get near vectors, and validation and test are never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_shops import write

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.vectors import parse_source
from recbole_ext.vectors.behaviour import numbered_histories, pairs_within

BEHAVIOURAL: list[dict[str, Any]] = [
    {"cooccurrence": "ppmi", "dim": 6},
    {"item2vec": "skipgram", "dim": 8, "epochs": 30, "learning_rate": 0.05},
]
every = pytest.mark.parametrize("settings", BEHAVIOURAL, ids=["cooccurrence", "item2vec"])


def made(settings: dict[str, Any], dataset: Dataset, artifacts: Path) -> ItemEmbeddingStore:
    source = parse_source(settings, "test")
    assert source is not None
    return ItemEmbeddingStore.load(source.make_once(dataset, artifacts))


@every
def test_items_of_validation_and_test_alone_have_no_vector(
    settings: dict[str, Any], shop: Dataset, tmp_path: Path
) -> None:
    """Every user's last two items are markers that stand nowhere else."""
    store = made(settings, shop, tmp_path)
    assert sorted(store.items) == sorted(f"i{n}" for n in range(24))


@every
def test_what_stands_in_validation_and_test_changes_no_vector(
    settings: dict[str, Any], shop: Dataset, tmp_path: Path
) -> None:
    lines = (shop.folder / "shop.inter").read_text().splitlines()
    # Ordinary items where the markers stood: had the source seen them, all vectors would change.
    replaced = [line.replace("marker0", "i0").replace("marker1", "i23") for line in lines]
    titles = (shop.folder / "shop.item").read_text().splitlines()[1:]
    write(tmp_path / "other", "shop", replaced, titles)
    other = Dataset.named("shop", tmp_path / "other", configs=tmp_path)
    seen, unseen = made(settings, shop, tmp_path / "a"), made(settings, other, tmp_path / "b")
    assert seen.items == unseen.items
    assert torch.equal(seen.embeddings, unseen.embeddings)


@every
@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"RS": [0.5, 0.25, 0.25]}], ids=["leave-one-out", "ratio"])
def test_users_of_two_and_three_rows_give_a_general_model_nothing_that_it_is_asked_for(
    settings: dict[str, Any], split: dict[str, Any], tmp_path: Path
) -> None:
    """Of rows the last is held out, of three rows the one before as well; of a sequential model's one or two samples
    the first always trains."""
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    histories = {f"long{n}": [f"i{(n + step) % 10}" for step in range(8)] for n in range(10)}
    histories |= {f"two{n}": [f"i{n}", "tested"] for n in range(5)}
    histories |= {f"three{n}": [f"i{n}", "validated", "tested"] for n in range(5)}
    rows += [f"{user}\t{item}\t{time}" for user, items in histories.items() for time, item in enumerate(items)]
    write(tmp_path / "data", "short", rows, ["i0\tx"])
    eval_args = {"split": split, "order": "TO", "group_by": "user", "mode": "full"}
    dataset = Dataset.named("short", tmp_path / "data", configs=tmp_path, keys={"eval_args": eval_args})
    markers = {"validated", "tested"}
    assert not markers & {*made(settings, dataset.with_keys({"model": "BPR"}), tmp_path).items}
    assert markers <= {*made(settings, dataset.with_keys({"model": "SASRec"}), tmp_path).items}


@every
def test_items_that_the_same_users_take_are_near_each_other(
    settings: dict[str, Any], shop: Dataset, tmp_path: Path
) -> None:
    store = made(settings, shop, tmp_path)
    group = torch.tensor([int(item[1:]) >= 12 for item in store.items])
    vectors = torch.nn.functional.normalize(store.embeddings, dim=-1)
    cosine = vectors @ vectors.T
    same = group.unsqueeze(0) == group.unsqueeze(1)
    off_diagonal = ~torch.eye(24, dtype=torch.bool)
    assert cosine[same & off_diagonal].mean() > cosine[~same].mean() + 0.3


@every
def test_the_split_is_part_of_the_request(settings: dict[str, Any], shop: Dataset) -> None:
    source = parse_source(settings, "test")
    assert source is not None
    temporal = shop.with_keys({"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "mode": "full"}})
    assert source.identity(shop) != source.identity(temporal)
    assert source.identity(shop) == source.identity(shop.with_keys({"learning_rate": 0.1}))


def test_items_that_stand_alone_have_no_vector_and_that_is_said(tmp_path: Path) -> None:
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    histories = {"u": ["a", "b", "x", "x"], "v": ["a", "b", "x", "x"], "w": ["c", "c", "x", "x"]}
    rows += [f"{user}\t{item}\t{time}" for user, items in histories.items() for time, item in enumerate(items)]
    write(tmp_path / "data", "lonely", rows, ["a\tx"])
    dataset = Dataset.named("lonely", tmp_path / "data", configs=tmp_path)
    source = parse_source({"cooccurrence": "ppmi", "dim": 1}, "test")
    assert source is not None
    result = source.make(dataset, tmp_path / "store", tmp_path)
    assert ItemEmbeddingStore.load(tmp_path / "store").items == ["a", "b"]
    assert result.notes == ("1 items stand alone in their training histories and get no vector",)


def test_more_dimensions_than_items_are_refused(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="dim: 25 is out of range; 24 items of shop occur together"):
        made({"cooccurrence": "ppmi", "dim": 25}, shop, tmp_path)


def test_ppmi_is_that_of_the_definition(tmp_path: Path) -> None:
    """Two users, window 1, no smoothing: a and b are counted once, b and c once."""
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in ("u", "v"):
        rows += [f"{user}\t{item}\t{time}" for time, item in enumerate(["a", "b", "c", "x", "y"])]
    write(tmp_path / "data", "three", rows, ["a\tx"])
    dataset = Dataset.named("three", tmp_path / "data", configs=tmp_path)
    store = made({"cooccurrence": "ppmi", "dim": 3, "window": 1, "smoothing": 1}, dataset, tmp_path)
    # Counts: ab 2, bc 2, both ways: 8 in all; a 2, b 4, c 2. PMI(a, b) = log(2 * 8 / (2 * 4)) = log 2.
    ppmi = np.log(2) * np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    left, values, _ = np.linalg.svd(ppmi)
    expected = torch.from_numpy(left * np.sqrt(values)).float()
    got = store.embeddings
    torch.testing.assert_close(got @ got.T, expected @ expected.T, atol=1e-4, rtol=1e-4)


@every
def test_users_of_one_interaction_each_leave_nothing_to_learn_from(settings: dict[str, Any], tmp_path: Path) -> None:
    rows = ["user_id:token\titem_id:token\ttimestamp:float", *(f"u{n}\ti{n % 3}\t1" for n in range(9))]
    write(tmp_path / "data", "single", rows, ["i0\tx"])
    with pytest.raises(SourceDataError, match="single: no user has a training interaction.*longer histories"):
        made(settings, Dataset.named("single", tmp_path / "data", configs=tmp_path), tmp_path)


def test_item2vec_that_becomes_no_numbers_is_refused(
    shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = torch.full((24, 4), float("nan")), 0.0
    monkeypatch.setattr("recbole_ext.vectors.item2vec.Item2vec._learnt", lambda *_: learnt)
    with pytest.raises(ConfigurationError, match="item2vec: learning_rate: .* lower it"):
        made({"item2vec": "skipgram", "dim": 4}, shop, tmp_path)
    with pytest.raises(ConfigurationError, match="learning_rate: at most 1 is needed; got 1e\\+30"):
        parse_source({"item2vec": "skipgram", "learning_rate": 1e30}, "test")


def test_without_two_items_in_a_history_there_is_nothing_to_learn(tmp_path: Path) -> None:
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    rows += [f"u\t{item}\t{time}" for time, item in enumerate(["a", "a", "x", "y"])]
    rows += [f"v\t{item}\t{time}" for time, item in enumerate(["b", "b", "x", "y"])]
    write(tmp_path / "data", "short", rows, ["a\tx"])
    dataset = Dataset.named("short", tmp_path / "data", configs=tmp_path)
    with pytest.raises(SourceDataError, match="no training history of short holds two different items"):
        made({"item2vec": "skipgram", "dim": 2}, dataset, tmp_path)


@given(
    histories=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=5),
    window=st.integers(1, 10),
)
def test_pairs_are_all_that_stand_within_the_window_of_one_history(histories: list[list[int]], window: int) -> None:
    earlier, later = pairs_within([np.array(history) for history in histories], window)
    expected = [
        (history[a], history[b])
        for history in histories
        for a in range(len(history))
        for b in range(a + 1, min(a + window + 1, len(history)))
    ]
    assert sorted(zip(earlier.tolist(), later.tolist(), strict=True)) == sorted(expected)


def test_numbered_histories_are_the_datasets_own(shop: Dataset) -> None:
    items, histories = numbered_histories(shop)
    assert [[items[n] for n in history] for history in histories] == [list(h) for h in shop.training_histories()]


def numbered_as_text(dataset: Dataset) -> tuple[list[str], list[np.ndarray]]:
    """The same by sorting every interaction's token, which takes the memory of all of them."""
    histories = list(dataset.training_histories())
    items, numbers = np.unique(np.concatenate([np.asarray(h, dtype=str) for h in histories]), return_inverse=True)
    ends = np.cumsum([len(history) for history in histories])[:-1]
    return [str(item) for item in items], np.split(numbers.reshape(-1), ends)


@every
def test_a_store_is_bit_for_bit_that_of_numbering_all_tokens_as_text(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens whose order as text is neither that of the file nor that of their numbers."""
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    rows += [f"u{user}\t{(7 * user + 3 * step) % 23}é\t{step}" for user in range(20) for step in range(3 + user % 9)]
    write(tmp_path / "data", "unsorted", rows, ["0\tx"])
    dataset = Dataset.named("unsorted", tmp_path / "data", configs=tmp_path)
    items, histories = numbered_histories(dataset)
    assert items == sorted(items) != sorted(items, key=lambda item: int(item[:-1]))
    as_text = numbered_as_text(dataset)
    assert items == as_text[0] and all(map(np.array_equal, histories, as_text[1]))
    ours = made(settings, dataset, tmp_path / "ours")
    for kind in ("cooccurrence", "item2vec"):
        monkeypatch.setattr(f"recbole_ext.vectors.{kind}.numbered_histories", numbered_as_text)
    theirs = made(settings, dataset, tmp_path / "theirs")
    assert ours.items == theirs.items and torch.equal(ours.embeddings, theirs.embeddings)
