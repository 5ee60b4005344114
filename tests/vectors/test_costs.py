"""What a store says that its vectors cost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.data.dataset import Dataset
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.folder import read_meta
from recbole_ext.vectors import VectorSource, parse_source
from recbole_ext.vectors.lexical import Lexical
from recbole_ext.vectors.source import Vectors

LEXICAL: dict[str, Any] = {"lexical": "tfidf", "dim": 4}


def source(settings: dict[str, Any]) -> VectorSource:
    found = parse_source(settings, "test")
    assert found is not None
    return found


def test_an_encoders_store_says_its_seconds_parameters_memory_and_device(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    whole, cut = (source({"encoder": str(tiny_encoders["bert"]), **cut}) for cut in ({}, {"layers": 1}))
    for one in (whole, cut):
        one.make_once(shop, tmp_path)
    said = read_meta(whole.store_path(shop, tmp_path))["cost"]
    assert said["vectors"] == 26 and said["seconds"] > 0 and said["peak_memory_mb"] > 50 and "cpu" in said["device"]
    costs = [one.cost(shop, tmp_path) for one in (whole, cut)]
    assert costs[0] is not None and costs[1] is not None
    assert costs[0].milliseconds_per_item == pytest.approx(1000 * said["seconds"] / 26)
    assert costs[0].parameters and costs[1].parameters and costs[0].parameters > costs[1].parameters > 0


def test_what_is_made_of_others_costs_as_much_as_all_of_them(shop: Dataset, tmp_path: Path) -> None:
    words, behaviour = source(LEXICAL), source({"cooccurrence": "ppmi", "dim": 4})
    fused = source({"fused": [LEXICAL, {"cooccurrence": "ppmi", "dim": 4}]})
    fused.make_once(shop, tmp_path)
    costs = [one.cost(shop, tmp_path) for one in (words, behaviour, fused)]
    of = [cost.milliseconds_per_item for cost in costs if cost is not None]
    assert len(of) == 3 and of[2] > of[0] + of[1] and costs[2] is not None and costs[2].parameters is None


def test_making_the_parts_on_the_way_is_not_counted_twice(
    shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_words = Lexical.compute_vectors

    def slow(*arguments: Any) -> Vectors:
        time.sleep(1)
        return of_words(*arguments)

    monkeypatch.setattr(Lexical, "compute_vectors", slow)
    control = source({"shuffled": LEXICAL})
    control.make_once(shop, tmp_path)
    seconds = [read_meta(one.store_path(shop, tmp_path))["cost"]["seconds"] for one in (source(LEXICAL), control)]
    assert seconds[0] >= 1 > seconds[1]


def test_of_vectors_that_are_not_there_or_given_nobody_knows(shop: Dataset, tmp_path: Path) -> None:
    assert source(LEXICAL).cost(shop, tmp_path) is None
    path = source(LEXICAL).make_once(shop, tmp_path)
    assert source({"store": str(path)}).cost(shop, tmp_path) is None
    control = source({"shuffled": {"store": str(path)}})
    control.make_once(shop, tmp_path)
    assert control.cost(shop, tmp_path) is None
    assert len(ItemEmbeddingStore.load(path)) == 24 + 2
