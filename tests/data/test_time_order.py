"""Rows in time order are in the order of their exact times, in whichever way they are split and whoever reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.compat import users_that_single_precision_reorders
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.data.stock import stock_dataset, stock_keys

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
ONE_CUT = {"split": {"RS": [0.5, 0.5]}, "order": "TO", "group_by": None, "mode": "full"}
Made = Callable[..., Dataset]
Rows = list[tuple[int, int]]

# User and time of each row of a file; its place there is its item. 128 seconds are one step of single precision.
rows_of_a_file = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1_700_000_000, 1_700_000_400)), min_size=3, max_size=40
)


def dataset_of(folder: Path, rows: Rows, **keys: Any) -> Dataset:
    (folder / "own").mkdir(exist_ok=True)
    lines = [HEADER, *(f"u{user}\ti{item}\t{time}" for item, (user, time) in enumerate(rows))]
    (folder / "own" / "own.inter").write_text("\n".join(lines) + "\n")
    return Dataset("own", folder, keys)


def splits_of(dataset: Dataset, kind: str) -> list[list[tuple[str, str]]]:
    """User and item of each row of each split, in RecBole's order."""
    if kind == "general":
        whole = stock_dataset(dataset.name, dataset.folder, dataset.effective_keys)
    else:
        stock_dataset(dataset.name, dataset.folder, dataset.effective_keys)
        from recbole.data.dataset import SequentialDataset

        kind_of = SequentialDataset if kind == "recbole's sequential" else SequenceViewDataset
        whole = kind_of(stock_keys(dataset.name, dataset.folder, dataset.effective_keys))
    return [
        list(
            zip(
                whole.id2token("user_id", split.inter_feat["user_id"].numpy()),
                whole.id2token("item_id", split.inter_feat["item_id"].numpy()),
                strict=True,
            )
        )
        for split in whole.build()
    ]


@settings(deadline=None, max_examples=40)
@given(rows_of_a_file, st.sampled_from(["general", "recbole's sequential", "ours"]))
def test_the_last_item_of_a_user_is_the_last_by_exact_time(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, kind: str
) -> None:
    dataset = dataset_of(tmp_path_factory.getbasetemp(), rows, eval_args=LEAVE_ONE_OUT)
    items = {user: [i for i, (owner, _) in enumerate(rows) if owner == user] for user in range(4)}
    in_order = {user: sorted(own, key=lambda item: rows[item][1]) for user, own in items.items()}
    if max(map(len, items.values())) < 2:
        return
    train, valid, test = splits_of(dataset, kind)
    least = 3 if kind == "general" else 4  # of n items there are n - 1 samples of histories
    assert sorted(test) == sorted((f"u{u}", f"i{own[-1]}") for u, own in in_order.items() if len(own) >= least - 1)
    assert sorted(valid) == sorted((f"u{u}", f"i{own[-2]}") for u, own in in_order.items() if len(own) >= least)
    for user, own in in_order.items():
        trained = [item for owner, item in train if owner == f"u{user}"]
        assert trained == [f"i{item}" for item in own[0 if kind == "general" else 1 :]][: len(trained)]


@settings(deadline=None, max_examples=25)
@given(rows_of_a_file)
def test_one_cut_over_all_users_is_in_the_order_of_exact_time(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows
) -> None:
    dataset = dataset_of(tmp_path_factory.getbasetemp(), rows, eval_args=ONE_CUT)
    first, second = splits_of(dataset, "general")
    expected = sorted(range(len(rows)), key=lambda item: rows[item][1])
    assert [item for _, item in first + second] == [f"i{item}" for item in expected]


@pytest.mark.parametrize("kind", ["general", "recbole's sequential", "ours"])
def test_an_export_with_the_newest_row_first_is_tested_on_the_newest(tmp_path: Path, kind: str) -> None:
    """Clicks ten seconds apart: in single precision all of a user's are at the same time."""
    rows = [(user, 1_700_000_000 + 86_400 * user + 10 * click) for user in range(12) for click in reversed(range(5))]
    dataset = dataset_of(tmp_path, rows, eval_args=LEAVE_ONE_OUT)
    *_, test = splits_of(dataset, kind)
    assert sorted(test) == sorted((f"u{user}", f"i{5 * user}") for user in range(12))
    *_, test = splits_of(dataset.with_keys({"exact_time_order": False}), kind)
    assert sorted(test) == sorted((f"u{user}", f"i{5 * user + 4}") for user in range(12))


@pytest.mark.parametrize("kind", ["general", "recbole's sequential", "ours"])
@pytest.mark.parametrize("split", [LEAVE_ONE_OUT, ONE_CUT])
def test_where_single_precision_tells_times_apart_nothing_changes(
    tmp_path: Path, kind: str, split: dict[str, Any]
) -> None:
    if kind != "general" and split is ONE_CUT:
        split = {**ONE_CUT, "split": {"RS": [0.6, 0.2, 0.2]}}
    draw = np.random.default_rng(3)
    rows = [
        (int(user), int(time) * 256) for user, time in zip(draw.integers(0, 5, 80), draw.permutation(80), strict=True)
    ]
    dataset = dataset_of(tmp_path, rows, eval_args=split)
    assert splits_of(dataset, kind) == splits_of(dataset.with_keys({"exact_time_order": False}), kind)


def test_ids_are_numbered_as_in_stock_recbole(tmp_path: Path) -> None:
    dataset = dataset_of(
        tmp_path, [(1, 1_700_000_020), (0, 1_700_000_010), (1, 1_700_000_000)], eval_args=LEAVE_ONE_OUT
    )
    read = stock_dataset("own", dataset.folder, dataset.effective_keys)
    assert list(read.field2id_token["user_id"]) == ["[PAD]", "u1", "u0"]


@pytest.mark.parametrize("keys", [{"normalize_field": ["timestamp"]}, {"normalize_all": True}])
def test_times_that_are_normalised_leave_the_order_exact(tmp_path: Path, keys: dict[str, Any]) -> None:
    rows = [(0, 1_700_000_000 - step) for step in range(6)] + [(0, 0)]
    dataset = dataset_of(tmp_path, rows, eval_args=LEAVE_ONE_OUT, numerical_features=[], **keys)
    *_, test = splits_of(dataset, "ours")
    assert test == [("u0", "i0")]


def test_an_order_at_random_is_recbole_s(tmp_path: Path) -> None:
    rows = [(0, 1_700_000_000 - step) for step in range(9)]
    dataset = dataset_of(tmp_path, rows, eval_args={**ONE_CUT, "order": "RO"})
    orders = []
    for exact in (True, False):
        torch.manual_seed(5)
        orders.append(splits_of(dataset.with_keys({"exact_time_order": exact}), "general"))
    assert orders[0] == orders[1]


@pytest.mark.parametrize(("keep", "kept"), [("first", "i0"), ("last", "i39")])
def test_of_repeated_interactions_the_first_or_last_by_exact_time_is_kept_of_equal_ones_by_the_file(
    made: Made, keep: str, kept: str
) -> None:
    rows = [f"u\tx\t{1_700_000_000 + 10 * (row // 20)}\ti{row}" for row in range(40)]
    rows = rows[20:] + rows[:20]
    dataset = made({"inter": [f"{HEADER}\tmark:token", *rows]}, load_col=None, rm_dup_inter=keep)
    read = stock_dataset("own", dataset.folder, dataset.effective_keys)
    found = read.id2token("mark", read.inter_feat["mark"].to_numpy())
    assert list(found) == [kept]


@settings(deadline=None)
@given(rows_of_a_file)
def test_the_users_that_are_said_to_be_reordered_are_those_that_a_sort_in_single_precision_reorders(rows: Rows) -> None:
    users, times = (np.array(column) for column in zip(*rows, strict=True))
    expected = 0
    for user in set(users):
        own = [row for row in range(len(rows)) if users[row] == user]
        exact = sorted(own, key=lambda row: times[row])
        expected += sorted(own, key=lambda row: np.float32(times[row])) != exact
    order = np.lexsort((times.astype(float), users))
    kept = times.astype(np.float32)
    assert users_that_single_precision_reorders(users, times.astype(float), kept, order) == expected


@pytest.mark.parametrize("exact", [True, False])
def test_the_checks_and_the_log_say_how_many_users_are_affected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, exact: bool
) -> None:
    rows = [(0, 1_700_000_010), (0, 1_700_000_000), (1, 1_700_000_000), (1, 1_700_000_010)]
    dataset = dataset_of(tmp_path, rows, exact_time_order=exact, eval_args=LEAVE_ONE_OUT)
    order = "the exact time" if exact else "the file (exact_time_order is off)"
    [sentence] = dataset.check()
    assert "rows of 1 of 2 users would be out of order" in sentence and sentence.endswith(f"in the order of {order}.")
    with caplog.at_level(logging.INFO, "recbole_ext"):
        stock_dataset("own", dataset.folder, dataset.effective_keys).build()
    [record] = [record.getMessage() for record in caplog.records if record.name.startswith("recbole_ext")]
    assert "the rows of 1 users would" in record and record.endswith(f"in the order of {order}")


def test_ml_100k_is_such_a_file_and_the_users_are_those_whose_histories_change() -> None:
    dataset = Dataset.named("ml-100k", configs="nowhere", keys={"eval_args": LEAVE_ONE_OUT})
    keys = dataset.effective_keys
    assert "rows of 83 of 943 users would be out of order; they are in the order of the exact" in dataset.check()[0]
    histories = []
    for exact in (True, False):
        read = SequenceViewDataset(stock_keys("ml-100k", dataset.folder, {**keys, "exact_time_order": exact}))
        read.build()
        rows = zip(*(read.history[field].tolist() for field in ("user_id", "item_id")), strict=True)
        histories.append({user: list(own) for user, own in groupby(rows, key=itemgetter(0))})
    assert sum(own != histories[1][user] for user, own in histories[0].items()) == 83
