"""The encoder as a source: behaviour-tuned first, what it reads, what is known before anything is computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_shops import write

from recbole_ext.benchmark.beginnings import Beginning, Beginnings
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, EncoderError, RecboleExtError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.tuning import tune
from recbole_ext.tuning.corpus import read_corpus
from recbole_ext.tuning.objectives import OBJECTIVES
from recbole_ext.tuning.tuning import TunedEncoder
from recbole_ext.vectors.controls import Shuffled
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.vectors.fused import Fused

FAST: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_tokens": 32}


def tuned(encoder: Path, objective: str = "pairs", sources: Any = ("shop",), **settings: Any) -> Encoder:
    tuning = {"objective": objective, "sources": sources, **FAST, **settings}
    return Encoder.checked({"encoder": str(encoder), "tune": tuning}, "test")


def with_own_code(bert: Path, folder: Path) -> Path:
    """A copy of a BERT that is loaded with Python code in its folder."""
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-bert", "architectures": ["OwnBert"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnBert"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        "from transformers import BertConfig, BertModel\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own-bert'\n"
        "class OwnBert(BertModel):\n    config_class = OwnConfig\n"
    )
    return folder


def tuning_of(source: Encoder, target: Dataset) -> TunedEncoder:
    assert source.tune is not None
    return source.tune.of(source.encoder, target)


@pytest.mark.parametrize("objective", ["pairs", "contrast"])
def test_an_encoder_is_tuned_first_and_once_for_all_targets(
    objective: str, shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tuned(tiny_encoders["bert"], objective)
    assert source.tune is not None
    place = source.tune.of(source.encoder, shop).folder(tmp_path)
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
    requests = [source.tune.of(str(bert), dataset).request() for dataset in (shop, changed, text, same)]
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


def test_a_longformers_window_names_the_tuned_encoder_and_is_what_it_is_tuned_with(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    longformer = tiny_encoders["longformer"]
    sources = [tuned(longformer, "contrast", **window) for window in ({}, {"attention_window": 64})]
    assert len({source.store_path(shop, tmp_path) for source in sources}) == 2, "its own window is narrower"
    tune([shop], str(longformer), tmp_path / "tuned", "contrast", **FAST, attention_window=16)
    assert json.loads((tmp_path / "tuned" / "config.json").read_text())["attention_window"] == [16, 16]


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_every_objective_has_an_estimate_that_grows_with_its_epochs(
    objective: str, shop: Dataset, tiny_encoders: dict[str, Path]
) -> None:
    one, three = (
        tuning_of(source, shop).estimate(source.shape())
        for source in (tuned(tiny_encoders["bert"], objective, epochs=epochs) for epochs in (1, 3))
    )
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
    for made_of in (str(tmp_path / "tuned"), bert):
        tuning = {"tune": {"objective": "contrast", "sources": ["shop"]}} if made_of == bert else {}
        plain = Encoder.checked({"encoder": made_of, "template": ["{title}"], **tuning}, "test")
        with pytest.raises(ConfigurationError, match="template: encoder .* reads key–value text"):
            plain.request(shop)
    with pytest.raises(EncoderError, match="reads key–value pairs, and Pairs tunes it on lines of text"):
        tune([shop], str(tmp_path / "tuned"), tmp_path / "again", "pairs", **FAST)
    for key, value in {"prompt": "x", "layers": 1, "drop": ("1",), "average_layers": (1,)}.items():
        with pytest.raises(ConfigurationError, match=f"{key}: encoder .* reads key–value text"):
            Encoder.checked({"encoder": str(tmp_path / "tuned"), key: value}, "test").make(
                shop, tmp_path / "store", tmp_path
            )
    with pytest.raises(ConfigurationError, match="dim: 33 is more than the width"):
        Encoder(encoder=str(tmp_path / "tuned"), dim=33).make(shop, tmp_path / "store", tmp_path)
    Encoder(encoder=str(tmp_path / "tuned"), dim=5).make(shop, tmp_path / "store", tmp_path)
    assert ItemEmbeddingStore.load(tmp_path / "store").dim == 5


# --- the target among its own sources ---


def test_the_target_is_tuned_on_under_its_own_keys_and_other_sources_under_theirs(
    shop: Dataset, tiny_encoders: dict[str, Path]
) -> None:
    source = tuned(tiny_encoders["bert"], sources=["shop", "other"])
    run = shop.with_keys({"eval_args": {"split": {"LS": "test_only"}, "order": "TO", "group_by": "user"}})
    own, other = tuning_of(source, run).sources
    assert own == run and other == shop.sibling("other")
    alone = tuned(tiny_encoders["bert"])
    assert tuning_of(alone, run).request() != tuning_of(alone, shop).request()


def test_without_validation_the_item_before_the_last_is_tuned_on_and_the_last_is_not(
    shop: Dataset, tiny_encoders: dict[str, Path]
) -> None:
    """``marker0`` stands before every user's last item, ``marker1``."""
    source = tuned(tiny_encoders["bert"])
    assert source.tune is not None

    def seen(split: dict[str, Any]) -> set[str]:
        run = shop.with_keys({"eval_args": {"split": split, "order": "TO", "group_by": "user"}})
        corpus = read_corpus(tuning_of(source, run).sources, source.tune.settings)  # type: ignore[union-attr]
        return {corpus.texts[item - 1] for sequence in corpus.sequences for item in sequence}

    assert not {text for text in seen({"LS": "valid_and_test"}) if "zebra" in text}
    assert {text for text in seen({"LS": "test_only"}) if "zebra" in text} == {"zebra stripes"}


def test_what_a_run_filters_and_its_split_files_decide_what_of_the_target_is_tuned_on(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    write(tmp_path, "cut", ["user_id:token\titem_id:token\ttimestamp:float"], ["a\tred", "b\tblue", "c\tzebra"])
    rows = {"train": ["u\ta\t1", "u\tb\t2"], "valid": ["u\tc\t3"], "test": ["u\tc\t4"]}
    for part, lines in rows.items():
        (tmp_path / "cut" / f"cut.{part}.inter").write_text(
            "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n"
        )
    source = tuned(tiny_encoders["bert"], sources=["cut"])
    assert source.tune is not None
    keys = {
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    }
    target = Dataset.named("cut", tmp_path, configs=tmp_path, keys=keys)
    corpus = read_corpus(tuning_of(source, target).sources, source.tune.settings)
    assert [[corpus.texts[item - 1] for item in sequence] for sequence in corpus.sequences] == [["red", "blue"]]
    few = shop.with_keys({"item_inter_num_interval": "[1000,inf)"})
    with pytest.raises(RecboleExtError):
        read_corpus(tuning_of(tuned(tiny_encoders["bert"]), few).sources, source.tune.settings)


# --- what is said of the encoder and holds for its tuning ---


def test_two_adapters_on_one_tuned_encoder_make_two_stores(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    source = tuned(tiny_encoders["bert"])
    paths = [source.store_path(shop, tmp_path)]
    for name in ("one", "two", "two again"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(f'{{"r": {len(name.split()[0]) + (name != "one")}}}')
        paths.append(source.model_copy(update={"adapter": str(tmp_path / name)}).store_path(shop, tmp_path))
    assert len(set(paths)) == 3 and paths[2] == paths[3], "the content tells them apart, and not the place"


@pytest.mark.parametrize("objective", ["pairs", "contrast"])
def test_an_encoder_with_code_of_its_own_is_tuned_where_the_user_trusts_it(
    objective: str, shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    folder = with_own_code(tiny_encoders["bert"], tmp_path / "custom")
    tuning = {"objective": objective, "sources": ["shop"], **FAST}
    with pytest.raises(EncoderError, match="trust_remote_code"):
        Encoder.checked({"encoder": str(folder), "tune": tuning}, "test").make_once(shop, tmp_path)
    trusted = Encoder.checked({"encoder": str(folder), "tune": tuning, "trust_remote_code": True}, "test")
    assert ItemEmbeddingStore.load(trusted.make_once(shop, tmp_path)).dim == 32


def test_trust_holds_for_every_step_and_decides_nothing_else(shop: Dataset, tiny_encoders: dict[str, Path]) -> None:
    plain = two_steps(tiny_encoders["gpt2"])
    trusted = Encoder.checked({**plain.model_dump(exclude={"tune"}), "tune": plain.tune, "trust_remote_code": True}, "")
    tunings = [tuning_of(source, shop) for source in (plain, trusted)]
    assert [[step.tuning.settings.trust_remote_code for step in tuning.steps] for tuning in tunings] == [
        [False, False],
        [True, True],
    ]
    assert tunings[0].request() == tunings[1].request()


# --- several steps, several seeds ---


def two_steps(encoder: Path, **settings: Any) -> Encoder:
    first = {"objective": "next-title", "sources": ["shop"], **FAST}
    return tuned(encoder, "item-contrast", after=first, pooling="mean", **settings)


def test_a_tuning_may_begin_with_what_another_one_makes(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    source = two_steps(tiny_encoders["gpt2"])
    path = source.make_once(shop, tmp_path)
    assert sorted(folder.name.rpartition("-")[0] for folder in (tmp_path / "encoders").iterdir()) == [
        "item-contrast",
        "next-title",
    ]
    # The same vectors as of the two commands, one after the other.
    tune([shop], str(tiny_encoders["gpt2"]), tmp_path / "one", "next-title", **FAST)
    tune([shop], str(tmp_path / "one"), tmp_path / "two", "item-contrast", pooling="mean", **FAST)
    Encoder(encoder=str(tmp_path / "two")).make(shop, tmp_path / "store", tmp_path)
    one, two = ItemEmbeddingStore.load(path), ItemEmbeddingStore.load(tmp_path / "store")
    torch.testing.assert_close(one.embeddings, two.embeddings)
    other = two_steps(tiny_encoders["gpt2"])
    assert other.tune is not None and other.tune.after is not None
    longer = other.tune.after.settings.model_copy(update={"epochs": 2})
    changed = other.tune.model_copy(update={"after": other.tune.after.model_copy(update={"settings": longer})})
    assert source.store_path(shop, tmp_path) != other.model_copy(update={"tune": changed}).store_path(shop, tmp_path)


def test_several_tuning_seeds_are_taken_in_turn_by_every_step_and_by_what_is_made_of_the_encoder(
    shop: Dataset, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    source = two_steps(tiny_encoders["gpt2"], seeds=[3, 4])
    fused = Fused.checked({"fused": [source, {"lexical": "tfidf"}]}, "test")
    shuffled = Shuffled.checked({"shuffled": source}, "test")
    for of in (source, fused, shuffled):
        assert of.tuning_seeds() == 2
        paths = [of.with_seed(number).store_path(shop, tmp_path) for number in range(4)]
        assert paths[0] == paths[2] != paths[1] == paths[3]
    fourth = source.with_seed(3).tune
    assert fourth is not None and fourth.after is not None
    assert (fourth.settings.seed, fourth.after.settings.seed, fourth.seeds) == (4, 4, ())
    alone = two_steps(tiny_encoders["gpt2"])
    assert alone.tuning_seeds() == 1 and alone.with_seed(3) == alone


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": [1, 2], "seed": 3}, "seed and seeds exclude each other"),
        ({"after": "pairs"}, "after: a mapping like this one"),
        ({"after": {"sources": ["shop"], "objective": "pair"}}, "test: tune: after: objective: there is no 'pair'"),
        ({"after": {"sources": ["shop"], "seeds": [1]}}, "after: seeds: give them to the last step"),
        ({"after": {"objective": "pairs"}}, "after: sources: name the datasets"),
        ({"after": {"sources": ["shop"]}}, "after: recformer makes an encoder that reads key–value pairs, and pairs"),
        ({"sources": ["shop", "other", "shop"]}, "sources: shop stands there twice"),
        ({"sources": {"shop": ["a"], "other": ["b", "b"]}}, "sources: b stands there twice"),
    ],
)
def test_steps_and_seeds_that_can_not_be_are_refused(
    settings: dict[str, Any], message: str, tiny_encoders: dict[str, Path]
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tuned(tiny_encoders["bert"], **settings)


def test_tuned_encoders_are_told_apart_in_words() -> None:
    words = [
        tuned(Path("plm"), **settings).in_words()
        for settings in (
            {},
            {"seed": 7},
            {"seeds": [1, 2]},
            {"temperature": 0.1},
            {"sources": {"a": ["b"]}},
            {"after": {"objective": "next-title", "sources": ["shop"]}},
        )
    ]
    assert words[0] == "encoder plm, tuned: pairs on shop (max_tokens 32, epochs 1, batch_size 8)"
    assert len(set(words)) == len(words)
    assert "seed 7" in words[1] and "seeds [1, 2]" in words[2] and "temperature 0.1" in words[3]
    assert "sources by dataset" in words[4] and "next-title on shop, then pairs on shop" in words[5]
    assert Encoder(encoder="plm", layers=2, pooling="mean").in_words() == "encoder plm, pooling mean, layers 2"


@pytest.fixture
def downloaded(shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the datasets that are downloaded from now on; each is the small shop."""
    names: list[str] = []

    def download(url: str, name: str, folder: Path) -> None:
        names.append(name)
        write(folder.parent, name, (shop.folder / "shop.inter").read_text().splitlines(), ["i0\tred", "i1\tblue"])

    monkeypatch.setattr("recbole_ext.data.files._download", download)
    return names


def test_datasets_that_recbole_knows_are_downloaded_before_vectors_are_made_of_them(
    downloaded: list[str], tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    """The dataset itself and the source domains; what is here is left as it is."""
    known = Dataset.named("ml-1m", tmp_path, keys={"expected": None, "item_text": None})
    source = tuned(tiny_encoders["bert"], sources=("ml-20m",))
    source.make(known, tmp_path / "store", tmp_path)
    assert downloaded == ["ml-1m", "ml-20m"]
    assert set(ItemEmbeddingStore.load(tmp_path / "store").items) == {"i0", "i1"}
    source.make(known, tmp_path / "again", tmp_path)
    assert len(downloaded) == 2


def test_source_domains_that_recbole_knows_are_listed_by_a_plan_and_fetched_by_a_run(
    shop: Dataset, downloaded: list[str], tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    """Of a source that is made of others, too."""
    here = Dataset.named("shop", shutil.copytree(shop.data_path, tmp_path / "data"), tmp_path)
    source = Shuffled(shuffled=tuned(tiny_encoders["bert"], sources=("ml-20m",)))
    plan = Beginnings(tmp_path, False, lambda *_: Beginning())
    plan.of(here, source, as_text=False)
    assert any("ml-20m, a source domain: not on this machine; it is downloaded from https" in s for s in plan.missing)
    assert not downloaded
    run = Beginnings(tmp_path, True, lambda *_: Beginning())
    assert run.of(here, source, as_text=False).store is not None
    assert downloaded == ["ml-20m"] and not run.missing
