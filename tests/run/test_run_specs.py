"""A grid becomes runs, and a run's name changes exactly when its result could."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recbole_ext.run.benchmark_file import load_benchmark, parse_overrides
from recbole_ext.run.spec import RunSpec, expand

from recbole_ext.errors import ConfigurationError

ITEMS = [f"i{item}" for item in range(60)]


@pytest.fixture
def runs(described: Callable[..., Path], own_data: Path, tmp_path: Path) -> Callable[..., list[RunSpec]]:
    """``runs(*overrides, **keys)``: the runs of a benchmark on a dataset of the test's own."""

    def runs(*overrides: str, **keys: Any) -> list[RunSpec]:
        path = described(tmp_path, **{"data_path": str(own_data), **keys})
        return list(expand(load_benchmark(path, parse_overrides(list(overrides))), "the command"))

    return runs


def with_store(path: Path) -> dict[str, Any]:
    return {"initialisations": {"vectors": {"store": str(path)}}}


# --- expansion ---


def test_the_grid_is_the_product_of_its_parts(runs: Callable[..., list[RunSpec]]) -> None:
    grid = runs(
        models=["SASRec", "GRU4Rec"],
        initialisations={"none": {}, "vectors": {"store": "x"}},
        protocols={"full": {}, "sampled": {"eval_args": {"mode": "uni5"}}},
        search=[{}, {"learning_rate": 0.01}, {"learning_rate": 0.1}],
        seeds=[1, 2],
    )
    cells = {(s.model, s.init, s.protocol, str(s.candidate), s.seed) for s in grid}
    assert len(grid) == len(cells) == len({spec.name for spec in grid}) == 2 * 2 * 2 * 3 * 2


def test_the_name_says_what_the_run_is(runs: Callable[..., list[RunSpec]]) -> None:
    random, vectors = runs(initialisations={"none": {}, "vectors": {"store": "x", "mode": "adapter"}})
    assert random.name == f"tiny-SASRec-none-full-s1-{random.fingerprint[:8]}"
    assert vectors.name == f"tiny-SASRec-vectors-adapter-full-s1-{vectors.fingerprint[:8]}"
    assert (random.mode, vectors.mode) == ("-", "adapter")


def test_a_random_initialisation_gets_no_key_of_the_hook(runs: Callable[..., list[RunSpec]]) -> None:
    (spec,) = runs()
    assert not [key for key in spec.config if key.startswith("item_embedding")]


def test_a_store_per_dataset_is_found_by_its_name(runs: Callable[..., list[RunSpec]]) -> None:
    (spec,) = runs(**with_store(Path("vectors/{dataset}/x")))
    assert spec.config["item_embedding"] == "vectors/tiny/x"


def test_later_layers_go_above_earlier_ones(runs: Callable[..., list[RunSpec]], tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text("epochs: 1")
    keys: dict[str, Any] = {"config": {}}
    assert runs(**keys)[0].config["epochs"] == 1
    layers: list[tuple[int, dict[str, Any]]] = [
        (2, {"config": {"epochs": 2}}),
        (3, {"models": {"SASRec": {"epochs": 3}}}),
        (4, {"search": [{"epochs": 4}]}),
        (5, {"protocols": {"full": {"epochs": 5}}}),
    ]
    for epochs, layer in layers:
        keys |= layer
        assert runs(**keys)[0].config["epochs"] == epochs


@pytest.mark.parametrize(
    ("model", "keys", "sampled"),
    [
        ("SASRec", {}, False),
        ("SASRec", {"loss_type": "BPR"}, True),
        ("SASRec", {"train_neg_sample_args": {"sample_num": 2}}, True),
        ("BERT4Rec", {}, False),
    ],
)
def test_cross_entropy_trains_without_sampled_negatives(
    runs: Callable[..., list[RunSpec]], model: str, keys: dict[str, Any], sampled: bool
) -> None:
    (spec,) = runs(models={model: keys})
    assert (spec.config.get("train_neg_sample_args", "RecBole's own") is not None) is sampled


@pytest.mark.parametrize("content", ["- a list", "a: ["])
def test_a_dataset_config_that_is_no_mapping_is_named(
    runs: Callable[..., list[RunSpec]], tmp_path: Path, content: str
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(content)
    with pytest.raises(ConfigurationError, match=r"configs/tiny\.yaml"):
        runs()


# --- fingerprints ---


def test_the_same_settings_give_the_same_name(runs: Callable[..., list[RunSpec]]) -> None:
    assert runs()[0].name == runs()[0].name


@pytest.mark.parametrize(
    "overrides",
    ["--epochs=3", "--learning_rate=0.01", "--seeds=[2]", "--eval_args={mode: uni5}", "--models=[GRU4Rec]"],
)
def test_a_changed_setting_changes_the_fingerprint(runs: Callable[..., list[RunSpec]], overrides: str) -> None:
    assert runs()[0].fingerprint != runs(overrides)[0].fingerprint


@pytest.mark.parametrize("key", ["item_embedding_mode=frozen", "item_embedding_transform=[l2]"])
def test_a_changed_key_of_the_hook_changes_the_fingerprint(
    runs: Callable[..., list[RunSpec]], store_of: Callable[..., Path], tmp_path: Path, key: str
) -> None:
    keys = with_store(store_of(ITEMS, tmp_path / "store"))
    assert runs(**keys)[0].fingerprint != runs(f"--{key}", **keys)[0].fingerprint


def test_changed_interactions_change_the_fingerprint(runs: Callable[..., list[RunSpec]], own_data: Path) -> None:
    before = runs()[0].fingerprint
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.write("u0\ti59\t99\n")
    assert runs()[0].fingerprint != before


def test_where_the_files_lie_does_not_change_the_fingerprint(
    runs: Callable[..., list[RunSpec]], store_of: Callable[..., Path], atomic_folder: Path, tmp_path: Path
) -> None:
    here, there = (store_of(ITEMS, tmp_path / name) for name in ("here", "there"))
    elsewhere = runs(data_path=str(atomic_folder), **with_store(there))
    assert runs(**with_store(here))[0].fingerprint == elsewhere[0].fingerprint


@pytest.mark.parametrize("change", [{"seed": 1}, {"items": ITEMS[::-1]}], ids=["vectors", "item tokens"])
def test_a_changed_store_changes_the_fingerprint(
    runs: Callable[..., list[RunSpec]], store_of: Callable[..., Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    before = runs(**with_store(store_of(ITEMS, tmp_path / "store")))[0].fingerprint
    after = runs(**with_store(store_of(path=tmp_path / "store", **{"items": ITEMS, **change})))[0].fingerprint
    assert before != after


@pytest.mark.parametrize("part", ["x.npy", "x.items.json"])
def test_a_changed_tensor_or_id_list_changes_the_fingerprint(
    runs: Callable[..., list[RunSpec]], tmp_path: Path, part: str
) -> None:
    (tmp_path / "x.npy").write_bytes(b"vectors")
    (tmp_path / "x.items.json").write_text("tokens")
    before = runs(**with_store(tmp_path / "x.npy"))[0].fingerprint
    (tmp_path / part).write_bytes(b"others than before")
    assert runs(**with_store(tmp_path / "x.npy"))[0].fingerprint != before


def test_a_store_that_is_made_later_changes_the_fingerprint(
    runs: Callable[..., list[RunSpec]], store_of: Callable[..., Path], tmp_path: Path
) -> None:
    before = runs(**with_store(tmp_path / "store"))[0].fingerprint
    store_of(ITEMS, tmp_path / "store")
    assert runs(**with_store(tmp_path / "store"))[0].fingerprint != before
