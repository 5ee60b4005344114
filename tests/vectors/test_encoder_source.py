"""The encoder as a source: behaviour-tuned first, what it reads, what is known before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.tuning import tune
from recbole_ext.vectors.encoder import Encoder

FAST: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_tokens": 32}


def tuned(encoder: Path, objective: str = "pairs", sources: Any = ("shop",), **settings: Any) -> Encoder:
    tuning = {"objective": objective, "sources": sources, **FAST, **settings}
    return Encoder.checked({"encoder": str(encoder), "tune": tuning}, "test")


@pytest.mark.parametrize("objective", ["pairs", "contrast"])
def test_an_encoder_is_tuned_first_and_once_for_all_targets(
    objective: str, shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tuned(tiny_encoders["bert"], objective)
    assert source.tune is not None
    place = source.tune.folder(source.encoder, [shop], tmp_path)
    path = source.make_once(shop, tmp_path)
    assert [folder.name for folder in (tmp_path / "encoders").iterdir()] == [place.name]
    assert place.name.startswith(f"{objective}-") and (place / "tuning.json").is_file()

    # The same vectors as of the two commands one after the other.
    tune([shop], str(tiny_encoders["bert"]), tmp_path / "by-hand", objective, **FAST)
    Encoder(encoder=str(tmp_path / "by-hand")).make(shop, tmp_path / "store", tmp_path)
    one, two = ItemEmbeddingStore.load(path), ItemEmbeddingStore.load(tmp_path / "store")
    assert one.items == two.items
    torch.testing.assert_close(one.embeddings, two.embeddings)

    # Another way of pooling is another store of the same tuned encoder.
    before = (place / "tuning.json").stat().st_mtime_ns
    other = source.model_copy(update={"pooling": "mean"})
    assert other.make_once(shop, tmp_path) != path
    assert (place / "tuning.json").stat().st_mtime_ns == before
    assert len(list((tmp_path / "encoders").iterdir())) == 1


def test_what_is_read_of_the_sources_names_the_tuned_encoder(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    bert = tiny_encoders["bert"]
    changed = shop.with_keys({"user_inter_num_interval": "[5,inf)"})
    text = shop.with_keys({"item_text": ["A {title}"]})
    same = shop.with_keys({"learning_rate": 0.1})
    source = tuned(bert)
    assert source.tune is not None
    requests = [source.tune.request(str(bert), [dataset]) for dataset in (shop, changed, text, same)]
    assert requests[0] == requests[3]
    assert len({str(request) for request in requests}) == 3
    seeds = [tuned(bert, seed=seed).store_path(shop, tmp_path) for seed in (1, 2)]
    assert seeds[0] != seeds[1]


def test_sources_are_named_for_all_targets_or_by_target(shop: Dataset, tiny_encoders: dict[str, Path]) -> None:
    source = tuned(tiny_encoders["bert"], sources={"shop": ["a", "b"]})
    assert source.tune is not None
    assert [dataset.name for dataset in source.tune.sources_for(shop)] == ["a", "b"]
    assert [dataset.data_path for dataset in source.tune.sources_for(shop)] == [shop.data_path] * 2
    with pytest.raises(ConfigurationError, match=r"tune\.sources: none for dataset 'other'"):
        source.tune.sources_for(shop.sibling("other"))
    missing = source.missing(shop)
    assert len(missing) == 2 and "a.item, a source domain" in missing[0]


def test_an_objectives_reading_decides_what_is_encoded(shop: Dataset, tiny_encoders: dict[str, Path]) -> None:
    plain, pairs = tuned(tiny_encoders["bert"], "pairs"), tuned(tiny_encoders["bert"], "mlm", attributes=["title"])
    assert plain.request(shop)["template"] == ["{title}"]
    assert pairs.request(shop)["template"] == ["title"]
    with pytest.raises(ConfigurationError, match="attributes"):
        tuned(tiny_encoders["bert"], "mlm", attributes=["colour"]).request(shop)


@pytest.mark.parametrize("objective", ["recformer", "contrast", "mlm", "pairs"])
def test_every_objective_has_an_estimate_that_grows_with_its_epochs(
    objective: str, shop: Dataset, tiny_encoders: dict[str, Path]
) -> None:
    one, three = (tuned(tiny_encoders["bert"], objective, epochs=epochs).estimate_tuning(shop) for epochs in (1, 3))
    assert one is not None and three is not None
    assert three.operations == pytest.approx(3 * one.operations) and one.memory_mb > 100


def test_without_the_encoder_or_the_dataset_there_is_no_estimate(shop: Dataset, tmp_path: Path) -> None:
    assert Encoder(encoder="org/not-here").estimate(shop) is None
    assert Encoder(encoder="minilm").estimate(shop.sibling("nowhere")) is None
    known = Encoder(encoder="somewhere", made_by="get allenai/longformer-base-4096")
    assert known.estimate(shop) is not None
    with pytest.raises(RecboleExtError, match="no such file"):
        Encoder(encoder="minilm").request(shop.sibling("nowhere"))


def test_a_cut_encoder_costs_less(shop: Dataset, tiny_encoders: dict[str, Path]) -> None:
    bert = str(tiny_encoders["bert"])
    whole, first, second = (
        Encoder(encoder=bert, **cut).estimate(shop)  # type: ignore[arg-type]
        for cut in ({}, {"layers": 1}, {"drop": (1, "2.1")})
    )
    assert whole is not None and first is not None and second is not None
    assert first.operations == second.operations == pytest.approx(whole.operations / 2)


def test_key_value_encoders_take_no_settings_of_plain_text(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    bert = str(tiny_encoders["bert"])
    tune([shop], bert, tmp_path / "tuned", "contrast", **FAST)
    for key, value in {"prompt": "x", "layers": 1, "drop": ("1",), "average_layers": (1,)}.items():
        with pytest.raises(ConfigurationError, match=f"{key}: encoder .* reads key–value text"):
            Encoder.checked({"encoder": str(tmp_path / "tuned"), key: value}, "test").make(
                shop, tmp_path / "store", tmp_path
            )
    with pytest.raises(ConfigurationError, match="dim: 33 is more than the width"):
        Encoder(encoder=str(tmp_path / "tuned"), dim=33).make(shop, tmp_path / "store", tmp_path)
    Encoder(encoder=str(tmp_path / "tuned"), dim=5).make(shop, tmp_path / "store", tmp_path)
    assert ItemEmbeddingStore.load(tmp_path / "store").dim == 5
