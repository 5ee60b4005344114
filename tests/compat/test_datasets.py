"""RecBole's datasets: the same rows, ids and values on every pandas and numpy."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

Build = Callable[..., SimpleNamespace]
Dataset = Callable[..., Any]
INTER = "user_id:token\titem_id:token\ttimestamp:float"


@pytest.fixture(params=["pandas's default", "copy-on-write"], autouse=True)
def copying(request: pytest.FixtureRequest) -> Any:
    """Copy-on-write is all that pandas 3 knows; older ones try it out."""
    if request.param == "pandas's default":
        yield
    elif pd.__version__.startswith("2."):
        with pd.option_context("mode.copy_on_write", True):
            yield
    else:
        pytest.skip("pandas 3 knows nothing else")


@pytest.fixture
def dataset(tmp_path: Path, build: Build) -> Dataset:
    """``dataset(inter, item=None, **config)``: what RecBole makes of atomic files with these lines."""
    from recbole.data import create_dataset
    from recbole.data.dataset import Dataset as Plain

    from recbole_ext.models import recbole_config

    def dataset(inter: list[str], item: list[str] | None = None, model: str = "SASRec", **settings: Any) -> Any:
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        (folder / "made.inter").write_text("\n".join(inter) + "\n")
        if item:
            (folder / "made.item").write_text("\n".join(item) + "\n")
        defaults = {"data_path": str(tmp_path), "train_neg_sample_args": None, "load_col": None}
        made = create_dataset(recbole_config(model, "made", {**defaults, **settings}))
        if "benchmark_filename" not in settings:
            Plain._change_feat_format(made)  # a sequential dataset's own makes samples of the interactions as well
        return made

    return dataset


def interactions(users: int = 5, items: int = 5) -> list[str]:
    return [INTER, *(f"u{user}\ti{item}\t{item}.1" for user in range(users) for item in range(items))]


# --- reading ---

TITLES = ['"Quoted" from the start', 'an unbalanced " in the middle', '"unbalanced at the start', "5' 10\"", "plain"]


def test_an_atomic_file_with_quotes_loads_line_by_line(dataset: Dataset) -> None:
    made = dataset(
        interactions(), ["item_id:token\ttitle:token", *(f"i{n}\t{title}" for n, title in enumerate(TITLES))]
    )
    features = made.get_item_feature()
    assert made.item_num == 6
    for item, title in enumerate(TITLES):
        assert made.id2token("title", int(features["title"][made.token2id("item_id", f"i{item}")])) == title


def test_an_empty_sequence_is_a_sequence_without_values(dataset: Dataset) -> None:
    lines = ["item_id:token\twords:token_seq\tvector:float_seq", "i0\ta b\t1.5 2.5", "i1\t\t", "i2\tb\t3.5"]
    features = dataset(interactions(3, 3), lines).get_item_feature()
    assert features["words"].tolist() == [[0, 0], [1, 2], [0, 0], [2, 0]]
    assert features["vector"].tolist() == [[0, 0], [1.5, 2.5], [0, 0], [3.5, 0]]


# --- sequences ---


def test_token_sequences_get_one_id_per_token(dataset: Dataset) -> None:
    made = dataset(interactions(3, 3), ["item_id:token\twords:token_seq", "i0\tred box", "i1\tbox", "i2\tbig red box"])
    words = [[made.id2token("words", int(word)) for word in row] for row in made.get_item_feature()["words"]]
    pad = "[PAD]"
    assert words == [[pad] * 3, ["red", "box", pad], ["box", pad, pad], ["big", "red", "box"]]


def test_sequences_of_one_length_keep_their_rows(dataset: Dataset) -> None:
    """As many rows as values in a row is where a list of arrays is most easily taken for a table."""
    made = dataset(interactions(2, 2), ["item_id:token\twords:token_seq", "i0\ta b", "i1\tc d"])
    assert made.get_item_feature()["words"].tolist() == [[0, 0], [1, 2], [3, 4]]


def test_float_sequences_are_normalised_over_all_rows(dataset: Dataset) -> None:
    lines = ["item_id:token\tvector:float_seq", "i0\t1 2", "i1\t5", "i2\t3 4 5"]
    made = dataset(interactions(3, 3), lines, normalize_field=["vector"])
    assert made.get_item_feature()["vector"].tolist() == [[0, 0, 0], [0, 0.25, 0], [1, 0, 0], [0.5, 0.75, 1]]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"method": "ED", "bucket": 2}, [[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[1, 2], [0, 0]], [[1, 2], [1, 2]]]),
        (None, [[[0, 0], [0, 0]], [[1, 1], [2, 1]], [[5, 1], [0, 0]], [[4, 1], [5, 1]]]),
    ],
    ids=["two buckets", "as they are"],
)
def test_numerical_sequences_become_buckets(
    dataset: Dataset, method: dict[str, Any] | None, expected: list[list[list[float]]]
) -> None:
    """RecBole pairs the value 1 with a bucket, and a value that is not put in buckets with 1."""
    made = dataset(
        interactions(3, 3),
        ["item_id:token\tvector:float_seq", "i0\t1 2", "i1\t5", "i2\t4 5"],
        model="FM",
        numerical_features=["vector"],
        discretization=method and {"vector": method},
    )
    assert made.get_item_feature()["vector"].tolist() == expected


def test_benchmark_files_with_their_own_histories(tmp_path: Path, dataset: Dataset) -> None:
    head = "user_id:token\titem_id_list:token_seq\titem_id:token"
    parts = {"train": ["u0\ta b\tc", "u1\tb\ta"], "valid": ["u0\ta b c\td"], "test": ["u1\tb a\td"]}
    (tmp_path / "made").mkdir()
    for name, lines in parts.items():
        (tmp_path / "made" / f"made.{name}.inter").write_text("\n".join([head, *lines]) + "\n")
    settings = {
        "benchmark_filename": list(parts),
        "alias_of_item_id": ["item_id_list"],
        "MAX_ITEM_LIST_LENGTH": 3,
        "train_batch_size": 8,
    }
    made = dataset(interactions(), **settings).build()
    lengths = [part.inter_feat["item_length"].tolist() for part in made]
    histories = [
        [[part.id2token("item_id", int(item)) for item in row if item] for row in part.inter_feat["item_id_list"]]
        for part in made
    ]
    assert lengths == [[2, 1], [3], [2]]
    assert histories == [[["a", "b"], ["b"]], [["a", "b", "c"]], [["b", "a"]]]


def test_a_knowledge_graph_is_linked_to_its_items(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "made").mkdir()
    graph = ["head_id:token\trelation_id:token\ttail_id:token", "m0\tby\tp0", "m1\tby\tp0", "m2\tby\tp1"]
    (tmp_path / "made" / "made.kg").write_text("\n".join(graph) + "\n")
    links = ["item_id:token\tentity_id:token", "i0\tm0", "i1\tm1", "i2\tm2"]
    (tmp_path / "made" / "made.link").write_text("\n".join(links) + "\n")
    made = dataset(interactions(4, 4), model="CKE", train_neg_sample_args={"distribution": "uniform", "sample_num": 1})
    pairs = zip(made.head_entities.tolist(), made.tail_entities.tolist(), strict=True)
    by = {(made.id2token("entity_id", head), made.id2token("entity_id", tail)) for head, tail in pairs}
    assert by == {("m0", "p0"), ("m1", "p0"), ("m2", "p1")}
    assert {made.id2token("entity_id", made.token2id("item_id", f"i{item}")) for item in range(3)} == {"m0", "m1", "m2"}


# --- missing values ---


def test_what_an_item_lacks_is_the_mean_or_the_padding(dataset: Dataset) -> None:
    """Padding and i2, which the .item file lacks, have every value missing; i1 has no price and no brand."""
    lines = ["item_id:token\tbrand:token\tprice:float\twords:token_seq\tvector:float_seq"]
    lines += ["i0\tx\t1.0\ta\t1.5", "i1\t\t\tb\t2.5", "i3\ty\t4.0\ta b\t3.5 4.5"]
    made = dataset(interactions(4, 4), lines, filter_inter_by_user_or_item=False)
    features = made.get_item_feature()
    order = [0, *(made.token2id("item_id", f"i{item}") for item in range(4))]
    brands = [made.id2token("brand", int(features["brand"][item])) for item in order]
    assert brands == ["[PAD]", "x", "[PAD]", "[PAD]", "y"]
    assert features["price"][order].tolist() == [2.5, 1.0, 2.5, 2.5, 4.0]
    assert features["words"][order].tolist() == [[0, 0], [1, 0], [2, 0], [0, 0], [1, 2]]
    assert features["vector"][order].tolist() == [[0, 0], [1.5, 0], [2.5, 0], [0, 0], [3.5, 4.5]]


def test_a_missing_float_of_an_interaction_is_the_mean(dataset: Dataset) -> None:
    lines = [f"{INTER}\trating:float", "u0\ti0\t1\t2", "u0\ti1\t2\t", "u0\ti2\t3\t5"]
    made = dataset(lines)
    assert made.inter_feat["rating"].tolist() == [2.0, 3.5, 5.0]
    assert torch.isfinite(made.inter_feat["timestamp"]).all()


# --- duplicates ---


@pytest.mark.parametrize(("keep", "expected"), [("first", 0), ("last", 1)])
@pytest.mark.parametrize("pairs", [8, 2000])
def test_at_equal_times_the_order_of_the_file_decides(dataset: Dataset, pairs: int, keep: str, expected: int) -> None:
    """``rating`` numbers the copies of a pair, which have one time; the times of the pairs are few."""
    times = np.random.default_rng(3).integers(0, 5, pairs)
    lines = [f"u{pair // 40}\ti{pair}\t{time}\t{copy}" for copy in (0, 1) for pair, time in enumerate(times)]
    made = dataset([f"{INTER}\trating:float", *lines], rm_dup_inter=keep)
    assert made.inter_feat["rating"].unique().tolist() == [expected]
    kept = [made.id2token("item_id", int(item)) for item in made.inter_feat["item_id"]]
    assert kept == [f"i{pair}" for pair in np.argsort(times, kind="stable")]


def test_duplicates_at_different_times_are_told_apart_by_time(dataset: Dataset) -> None:
    lines = [INTER, "u0\ti0\t9", "u0\ti1\t5", "u0\ti0\t1", "u0\ti1\t7"]
    first = dataset(lines, rm_dup_inter="first")
    assert first.inter_feat["timestamp"].tolist() == [1, 5]
    last = dataset(lines, rm_dup_inter="last")
    assert last.inter_feat["timestamp"].tolist() == [7, 9]


# --- samples ---


def test_samples_are_numbered_without_a_list(build: Build) -> None:
    built = build("SASRec")
    assert built.loaders.train.sample_size == len(built.loaders.train._dataset)
    import recbole.data.dataloader.abstract_dataloader as module

    assert module.list(range(3)) == range(3)
    assert module.list((1, 2)) == [1, 2]


def test_ids_and_values_that_pandas_takes_for_missing_are_read_and_empty_ones_are_missing(
    tmp_path: Path, build: Build
) -> None:
    (tmp_path / "tiny").mkdir()
    rows = [f"u{user}\t{item}\t{time}\tNA" for user in range(5) for time, item in enumerate(("NA", "None", "x", "nan"))]
    header = "\ufeffuser_id:token\titem_id:token\ttimestamp:float\trating:float"
    (tmp_path / "tiny" / "tiny.inter").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    items = ["item_id:token\tcountry:token\ttags:token_seq", "NA\tNA\tNA null", "None\t\t", "x\tUK\ta", "nan\tUK\t"]
    (tmp_path / "tiny" / "tiny.item").write_text("\n".join(items) + "\n")
    dataset = build(
        "BPR", data_path=str(tmp_path), load_col=None, train_neg_sample_args={"distribution": "uniform"}
    ).dataset
    assert dataset.item_num == 5 and dataset.inter_num == 20
    features = dataset.get_item_feature()
    number = dataset.token2id("item_id", "NA")
    assert dataset.id2token("country", int(features["country"][number])) == "NA"
    assert list(dataset.id2token("tags", features["tags"][number])) == ["NA", "null"]
    assert int(features["country"][dataset.token2id("item_id", "None")]) == 0


class Poison:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("unpickled",)


def test_nothing_that_was_saved_is_ever_loaded(tmp_path: Path, build: Build) -> None:
    """RecBole takes what lies in ``checkpoint_dir`` under these names for its own, asked or not."""
    for name in ("tiny-Dataset.pth", "tiny-for-BPR-dataloader.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(Poison()))
    settings = {"checkpoint_dir": str(tmp_path), "train_neg_sample_args": {"distribution": "uniform"}}
    assert build("BPR", **settings).dataset.item_num == 61
