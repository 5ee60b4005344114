"""RecTools beside this package: what is handed to it, and what is said where it is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from recbole_ext.bench.rectools import _training, rectools_table, run_rectools
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError


def test_it_trains_on_the_very_rows_of_this_package_in_the_order_of_each_history(
    build: Callable[..., SimpleNamespace],
) -> None:
    train = build("SASRec").loaders.train._dataset
    rows = _training(train)
    assert rows["datetime"].is_monotonic_increasing
    histories = rows.groupby("user_id")["item_id"].agg(list)
    longest = train[[int(train.inter_feat[train.item_list_length_field].argmax())]]
    user, length = int(longest[train.uid_field]), int(longest[train.item_list_length_field])
    expected = [*longest[f"{train.iid_field}_list"][0, :length].tolist(), int(longest[train.iid_field])]
    assert histories[user][-len(expected) :] == expected
    assert len(rows) == len(train) + rows["user_id"].nunique(), "each user's first item is no target"


def test_where_it_is_not_installed_that_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rectools", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rectools\[torch\]'"):
        run_rectools(Dataset.named("ml-100k"), 1)


def test_the_table_says_which_release_and_how_many_times_longer() -> None:
    result = {
        "dataset": "Office",
        "rectools": "0.19.0",
        "seconds_per_epoch": {"RecTools": 9.0, "recbole-ext": 2.0},
        "ratio": 4.5,
    }
    assert rectools_table(result)[0].startswith("| SASRec, seconds per epoch | RecTools 0.19.0 |")
    assert rectools_table(result)[-1] == "| Office | 9.00 | 2.00 | 4.5 |"
