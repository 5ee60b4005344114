"""Sources of words: TF-IDF with SVD, and averaged word vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_shops import write

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.vectors import parse_source


def made(settings: dict[str, Any], dataset: Dataset, folder: Path) -> ItemEmbeddingStore:
    source = parse_source(settings, "test")
    assert source is not None
    return ItemEmbeddingStore.load(source.make_once(dataset, folder))


def titles(folder: Path, *texts: str) -> Dataset:
    write(folder, "words", ["user_id:token\titem_id:token"], [f"i{n}\t{text}" for n, text in enumerate(texts)])
    return Dataset.named("words", folder, configs=folder)


def cosine(store: ItemEmbeddingStore, one: str, two: str) -> float:
    rows = store.embeddings[store.rows([one, two])]
    return float(torch.nn.functional.cosine_similarity(rows[0], rows[1], dim=0))


# --- lexical ---


def test_items_with_common_words_are_near_each_other(shop: Dataset, tmp_path: Path) -> None:
    store = made({"lexical": "tfidf", "dim": 4}, shop, tmp_path)
    assert cosine(store, "i0", "i1") > cosine(store, "i0", "i12") + 0.3
    assert "empty" not in store.items and "marker0" in store.items


def test_with_all_dimensions_products_are_those_of_tfidf(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["red car red", "blue car", "green bus stop"]
    store = made({"lexical": "tfidf", "dim": 3}, titles(tmp_path / "data", *texts), tmp_path)
    weights = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    expected = torch.from_numpy((weights @ weights.T).toarray()).float()
    torch.testing.assert_close(store.embeddings @ store.embeddings.T, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("error")
def test_texts_that_are_all_the_same_have_no_variance_of_which_a_part_is_explained(tmp_path: Path) -> None:
    for number, texts in enumerate([["red car"], ["red car"] * 3]):
        store = made({"lexical": "tfidf", "dim": 1}, titles(tmp_path / str(number), *texts), tmp_path / f"s{number}")
        assert store.meta["explained_variance"] is None and store.embeddings.isfinite().all()


def test_a_text_without_words_has_no_vector_and_that_is_said(tmp_path: Path) -> None:
    dataset = titles(tmp_path / "data", "red car", "blue car", "!!!", "")
    source = parse_source({"lexical": "tfidf", "dim": 2}, "test")
    assert source is not None
    notes = source.make(dataset, tmp_path / "store", tmp_path).notes
    assert ItemEmbeddingStore.load(tmp_path / "store").items == ["i0", "i1"]
    assert (
        "items without text, which get no vector: 1" in notes[0] and "1 items have a text without any word" in notes[1]
    )


def test_more_dimensions_than_words_are_refused(tmp_path: Path) -> None:
    dataset = titles(tmp_path / "data", "red car", "blue car", "car")
    with pytest.raises(ConfigurationError, match="dim: 4 is out of range; words has 3 items with text and 3 words"):
        made({"lexical": "tfidf", "dim": 4}, dataset, tmp_path)
    with pytest.raises(ConfigurationError, match="no word stands in the texts of 4 items"):
        made({"lexical": "tfidf", "dim": 1, "min_items": 4}, dataset, tmp_path)


# --- static ---

GLOVE = "the 1 1 1 1\nred 1 0 0 0\ncar 0 1 0 0\nblue 0 0 1 0\nRed 9 9 9 9\nred 5 5 5 5\n"


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE, encoding="utf-8")
    return path


def test_an_item_is_the_mean_of_the_words_that_are_known(glove: Path, tmp_path: Path) -> None:
    dataset = titles(tmp_path / "data", "Red car", "red red unknown blue", "unknown")
    store = made({"static": str(glove)}, dataset, tmp_path)
    assert store.items == ["i0", "i1"]
    expected = [[0.5, 0.5, 0, 0], [2 / 3, 0, 1 / 3, 0]]
    torch.testing.assert_close(store.embeddings, torch.tensor(expected))


def test_sif_weighs_frequent_words_less_and_takes_the_shared_direction_out(glove: Path, tmp_path: Path) -> None:
    texts = ["the red car", "the blue car", "the the blue"]
    store = made({"static": str(glove), "weighting": "sif"}, titles(tmp_path / "data", *texts), tmp_path)
    frequency = {"the": 4 / 9, "red": 1 / 9, "car": 2 / 9, "blue": 2 / 9}
    vector = {line.split()[0]: np.array(line.split()[1:], float) for line in GLOVE.splitlines()[:4]}
    raw = np.stack(
        [np.mean([1e-3 / (1e-3 + frequency[w]) * vector[w] for w in text.split()], axis=0) for text in texts]
    )
    shared = np.linalg.svd(raw, full_matrices=False)[2][0]
    expected = raw - np.outer(raw @ shared, shared)
    torch.testing.assert_close(store.embeddings, torch.from_numpy(expected).float(), atol=1e-7, rtol=1e-4)


def test_the_first_line_of_word2vecs_format_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("2 3\nred 1 2 3\ncar 3 2 1\n")
    source = parse_source({"static": str(path)}, "test")
    dataset = titles(tmp_path / "data", "red car")
    assert source is not None and source.width(dataset) == 3
    store = made({"static": str(path)}, dataset, tmp_path)
    torch.testing.assert_close(store.embeddings, torch.tensor([[2.0, 2.0, 2.0]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"red 1 2 3\ncar 1 2\n", "line 2: 3 finite numbers are expected after 'car'"),
        (b"red 1 2 x\n", "line 1: 3 finite numbers"),
        (b"red 1 nan 2\n", "line 1: 3 finite numbers"),
        (b"red \xff\xfe 1\n", "not UTF-8"),
        (b"green 1 2 3\n", "no word of words's item texts"),
        (b"", "no line holds a word and its vector, as WORD NUMBERS separated by spaces"),
        (b"2 3\n", "no line holds a word and its vector"),
        (b"red,1,2,3\ncar,1,2,3\n", r"words\.txt: no line holds a word and its vector, as WORD NUMBERS separated by"),
    ],
)
def test_a_file_that_holds_no_word_vectors_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(SourceDataError, match=message):
        made({"static": str(path)}, titles(tmp_path / "data", "red car"), tmp_path)


@pytest.mark.parametrize("content", ["", "red,1,2,3\n"])
def test_a_file_without_a_vector_is_refused_where_its_width_is_asked(content: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(content)
    source = parse_source({"static": str(path)}, "test")
    assert source is not None
    with pytest.raises(SourceDataError, match="WORD NUMBERS separated by spaces"):
        source.width(titles(tmp_path / "data", "red car"))
