"""What holds for every source of item vectors: keys, names of stores, nothing made twice, the same again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, RecboleExtError, StoreError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.vectors import SOURCES, VectorSource, made_of, parse_source
from recbole_ext.vectors.source import Vectors

Parse = Callable[[dict[str, Any]], VectorSource]


def parsed(settings: dict[str, Any]) -> VectorSource:
    source = parse_source(settings, "test")
    assert source is not None
    return source


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, tiny_encoders: dict[str, Path]) -> dict[str, Any]:
    """The settings of a small source of each kind."""
    words = tmp_path / "words.txt"
    words.write_text("red 1 0 0\nblue 0 1 0\nthing 0 0 1\nzebra 1 1 1\n")
    ItemEmbeddingStore(torch.eye(3), ["i0", "i1", "i2"]).save(tmp_path / "given")
    lexical = {"lexical": "tfidf", "dim": 3}
    of_kind: dict[str, dict[str, Any]] = {
        "encoder": {"encoder": str(tiny_encoders["bert"]), "pooling": "mean"},
        "store": {"store": str(tmp_path / "given")},
        "lexical": lexical,
        "static": {"static": str(words), "weighting": "sif"},
        "cooccurrence": {"cooccurrence": "ppmi", "dim": 3},
        "item2vec": {"item2vec": "skipgram", "dim": 3, "epochs": 2},
        "fused": {"fused": [lexical, {"of": {"cooccurrence": "ppmi", "dim": 4}, "transform": [{"pca": 2}]}]},
        "shuffled": {"shuffled": lexical},
        "gaussian": {"gaussian": lexical, "seed": 3},
    }
    return of_kind[request.param]


MADE = [kind for kind in SOURCES if kind != "finetune"]
of_every_kind = pytest.mark.parametrize("settings", MADE, indirect=True)


@of_every_kind
def test_a_source_makes_a_store_of_the_width_that_it_said_and_makes_it_once(
    settings: dict[str, Any], shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = parsed(settings)
    path = source.make_once(shop, tmp_path / "artifacts")
    store = ItemEmbeddingStore.load(path)
    assert path == source.store_path(shop, tmp_path / "artifacts")
    assert store.dim == source.width(shop)
    assert source.missing(shop) == []

    def again(*_: Any) -> Vectors:
        raise AssertionError("made twice")

    monkeypatch.setattr(type(source), "compute_vectors", again)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert source.make_once(shop, tmp_path / "artifacts") == path
    assert source.make(shop, path, tmp_path / "artifacts").up_to_date
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before


def test_a_store_that_is_there_is_used_also_where_nothing_can_be_written(
    shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions would not stop a test that is run as root, so that every claim is refused here."""

    def refuse(lock: Path, wait: bool) -> None:
        raise PermissionError(lock)

    source = parsed({"lexical": "tfidf", "dim": 3})
    made = source.make_once(shop, tmp_path)
    monkeypatch.setattr("recbole_ext.vectors.source.claim", refuse)
    assert source.make_once(shop, tmp_path) == made
    with pytest.raises(PermissionError):
        source.make_once(shop, tmp_path / "elsewhere")


@of_every_kind
def test_the_same_settings_make_the_same_vectors(settings: dict[str, Any], shop: Dataset, tmp_path: Path) -> None:
    stores = [ItemEmbeddingStore.load(parsed(settings).make_once(shop, tmp_path / name)) for name in ("one", "two")]
    assert stores[0].fingerprint() == stores[1].fingerprint()


@of_every_kind
def test_a_store_says_what_was_asked_for(settings: dict[str, Any], shop: Dataset, tmp_path: Path) -> None:
    source = parsed(settings)
    source.make(shop, tmp_path / "store", tmp_path / "artifacts")
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    assert meta["request"] == {"kind": source.kind, **source.request(shop)}
    assert meta["identity"] == source.identity(shop)
    assert meta["source"] == source.in_words()


@of_every_kind
def test_an_estimate_is_given_where_the_dataset_is_known(settings: dict[str, Any], shop: Dataset) -> None:
    source = parsed(settings)
    if source.kind == "store":
        assert source.estimate(shop) is None
        return
    estimate = source.estimate(shop)
    assert estimate is not None and estimate.seconds(1e9) > 0 and estimate.memory_mb > 100


@pytest.mark.parametrize("kind", ["lexical", "cooccurrence", "item2vec", "shuffled", "gaussian"])
def test_another_seed_is_another_store(kind: str, shop: Dataset, tmp_path: Path) -> None:
    every: dict[str, dict[str, Any]] = {
        "lexical": {"lexical": "tfidf", "dim": 2},
        "cooccurrence": {"cooccurrence": "ppmi", "dim": 2},
        "item2vec": {"item2vec": "skipgram", "dim": 2, "epochs": 1},
        "shuffled": {"shuffled": {"lexical": "tfidf", "dim": 2}},
        "gaussian": {"gaussian": {"lexical": "tfidf", "dim": 2}},
    }
    one, two = (parsed({**every[kind], "seed": seed}) for seed in (1, 2))
    assert one.store_path(shop, tmp_path) != two.store_path(shop, tmp_path)


@pytest.mark.parametrize("seed", [-1, 2**32, 99999999999, 1e23])
@pytest.mark.parametrize(
    "settings",
    [
        {"lexical": "tfidf"},
        {"cooccurrence": "ppmi"},
        {"item2vec": "skipgram"},
        {"shuffled": {"lexical": "tfidf"}},
        {"encoder": "minilm", "tune": {"objective": "pairs", "sources": ["a"]}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_seed_that_no_generator_takes_is_refused(settings: dict[str, Any], seed: float) -> None:
    of_tuning = {"tune": {**settings["tune"], "seed": seed}} if "tune" in settings else {"seed": seed}
    with pytest.raises(ConfigurationError, match="seed: "):
        parsed({**settings, **of_tuning})


def test_two_requests_of_one_name_never_share_a_store(tiny_encoders: dict[str, Path], shop: Dataset) -> None:
    bert = str(tiny_encoders["bert"])
    settings: list[dict[str, Any]] = [
        {},
        {"pooling": "cls"},
        {"pooling": "mean"},
        {"dim": 8},
        {"layers": 1},
        {"drop": [2]},
        {"prompt": "a "},
        {"average_layers": [1, 2]},
        {"precision": "bfloat16"},
        {"max_tokens": 7},
        {"template": ["{title}", "{title}"]},
        {"trust_remote_code": True},
    ]
    stores = {parsed({"encoder": bert, **more}).store_path(shop, Path("a")) for more in settings}
    assert len(stores) == len(settings)
    assert parsed({"encoder": bert, "made_by": "x"}).store_path(shop, Path("a")) in stores


def test_a_store_that_answers_another_request_is_made_anew(shop: Dataset, tmp_path: Path) -> None:
    parsed({"lexical": "tfidf", "dim": 2}).make(shop, tmp_path / "store", tmp_path)
    assert not parsed({"lexical": "tfidf", "dim": 3}).make(shop, tmp_path / "store", tmp_path).up_to_date
    assert ItemEmbeddingStore.load(tmp_path / "store").dim == 3


def test_what_is_no_store_is_never_overwritten(shop: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all my work")
    with pytest.raises(StoreError, match="is no item embedding store"):
        parsed({"lexical": "tfidf", "dim": 2}).make(shop, tmp_path, tmp_path / "artifacts")


# --- keys ---


def test_an_empty_mapping_is_random_vectors() -> None:
    assert parse_source({}, "test") is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "minilm", "poolin": "mean"}, "x.yaml: a: poolin: unknown key. Did you mean 'pooling'"),
        ({"encoder": "minilm", "pooling": "max"}, "x.yaml: a: pooling: one of cls, mean or last is needed; got 'max'"),
        ({"encoder": "minilm", "dim": True}, "dim: yes and no mean nothing here"),
        ({"encoder": "minilm", "dim": "wide"}, "dim: .*got 'wide'"),
        ({"encoder": "a", "store": "b"}, "encoder and store are two sources"),
        ({"encodr": "minilm"}, "Did you mean 'encoder'"),
        ({"pooling": "mean"}, "A source begins with one of encoder, store"),
        ({"lexical": "bm25"}, "lexical: one of tfidf is needed"),
        ({"cooccurrence": "ppmi", "window": 0}, "window: at least 1 is needed"),
        ({"shuffled": "nobody"}, "shuffled: this names no initialisation"),
        ({"shuffled": {}}, "shuffled: random vectors are no source"),
        ({"shuffled": {"encoder": "minilm", "dims": 3}}, "a: shuffled: dims: unknown key. Did you mean 'dim'"),
        ({"gaussian": {"gaussian": {"lexical": "bm"}}}, "a: gaussian: gaussian: lexical: one of tfidf is needed"),
        ({"fused": [{"lexical": "tfidf"}]}, "fused: at least 2 entries are needed"),
        ({"fused": {"lexical": "tfidf"}}, "fused: a list of sources is needed"),
        ({"fused": [{"lexical": "tfidf"}, {"of": {"lexical": "tfidf"}, "transfrm": []}]}, "transfrm: unknown key"),
        ({"encoder": "a", "tune": {"objective": "pairs"}}, "tune: sources: name the datasets"),
        (
            {"encoder": "a", "tune": {"objective": "pears", "sources": ["b"]}},
            "tune: objective: .* Did you mean 'pairs'",
        ),
        (
            {"encoder": "a", "tune": {"objective": "pairs", "sources": ["b"], "mlm_weight": 1}},
            "mlm_weight: unknown key",
        ),
        ({"encoder": "a", "tune": {"sources": ["b"], "epochs": 0}}, "a: tune: epochs: "),
    ],
)
def test_wrong_settings_are_named_with_their_place(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_source(settings, "x.yaml: a")


def test_names_of_initialisations_are_found_wherever_a_source_may_stand() -> None:
    assert list(made_of({"encoder": "minilm"})) == []
    assert list(made_of({"shuffled": "minilm"})) == [(("shuffled",), "minilm")]
    nested = {"fused": ["a", {"of": "b", "transform": ["center"]}, {"gaussian": "c"}, {"encoder": "d"}]}
    assert list(made_of(nested)) == [
        (("fused", 0), "a"),
        (("fused", 1, "of"), "b"),
        (("fused", 2, "gaussian"), "c"),
    ]


def test_what_is_missing_is_said_with_the_way_to_get_it(shop: Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"encoder": str(tmp_path / "nowhere"), "made_by": "make {dataset}"}
    assert parsed(settings).missing(shop) == [f"encoder {tmp_path / 'nowhere'}: make shop"]
    assert parsed({"shuffled": {"fused": [settings, settings]}}).missing(shop) == 2 * parsed(settings).missing(shop)
    store = {"store": str(tmp_path / "{dataset}"), "made_by": "draw {dataset}"}
    assert parsed(store).missing(shop) == [f"{tmp_path / 'shop'}: draw shop"]
    assert parsed({"static": str(tmp_path / "none.txt")}).missing(shop) == [
        f"{tmp_path / 'none.txt'}: no such file of word vectors"
    ]
    with pytest.raises(RecboleExtError):
        parsed(store).make_once(shop, tmp_path)


def test_a_source_is_as_wide_as_its_settings_and_files_say(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    bert = {"encoder": str(tiny_encoders["bert"])}
    assert parsed(bert).width(shop) == 32
    assert parsed({**bert, "dim": 5}).width(shop) == 5
    with pytest.raises(ConfigurationError, match="dim: 33 is more than the width"):
        parsed({**bert, "dim": 33}).width(shop)
    assert parsed({"encoder": "org/not-here"}).width(shop) is None
    fused = {"fused": [bert, {"of": bert, "transform": [{"pca": 3}]}]}
    assert parsed(fused).width(shop) == 35
    with pytest.raises(ConfigurationError, match="sum needs equal widths, and the parts have 32 and 3"):
        parsed({**fused, "how": "sum"}).width(shop)
    with pytest.raises(ConfigurationError, match="pca needs a width from 1 to 32"):
        parsed({"fused": [bert, {"of": bert, "transform": [{"pca": 64}]}]}).width(shop)
