"""The popularity kept beside the records is that of the training split, whatever loads it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recbole_ext.runs.popularity import keep_popularity
from recbole_ext.training import choose_samples

Build = Callable[..., SimpleNamespace]


def counted(atomic_folder: Path, built: SimpleNamespace) -> tuple[list[int], list[int]]:
    """Training interactions per item and of each user's test item, by RecBole's numbers, from the file itself."""
    histories: dict[str, list[str]] = defaultdict(list)
    for line in (atomic_folder / "tiny" / "tiny.inter").read_text().splitlines()[1:]:
        user, item, _ = line.split("\t")
        histories[user].append(item)
    training = Counter(item for history in histories.values() for item in history[:-2])
    users = built.dataset.id2token("user_id", range(1, 41))
    items = built.dataset.id2token("item_id", range(1, built.dataset.item_num))
    return [training[item] for item in items], [training[histories[user][-1]] for user in users]


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "FEARec", "BPR"])
@pytest.mark.parametrize("mode", ["full", "uni10"])
def test_it_is_counted_on_the_training_split_alone(
    build: Build, atomic_folder: Path, tmp_path: Path, model: str, mode: str
) -> None:
    eval_args = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": mode}
    negatives = {"distribution": "uniform", "sample_num": 1}
    built = build(model, eval_args=eval_args, **({"train_neg_sample_args": negatives} if model == "BPR" else {}))
    choose_samples(built.config, built.model, built.loaders)
    named = keep_popularity(built.loaders, "tiny", tmp_path)
    assert named is not None
    with np.load(tmp_path / named.file) as file:
        assert {name: values.dtype for name, values in file.items()} == {
            "item_interactions": np.int32,
            "test_interactions": np.int32,
        }
        items, users = counted(atomic_folder, built)
        assert file["item_interactions"].tolist() == items
        assert file["test_interactions"].tolist() == users


def test_runs_on_the_same_split_share_one_file(build: Build, tmp_path: Path) -> None:
    named = [keep_popularity(build(model).loaders, "tiny", tmp_path) for model in ("SASRec", "GRU4Rec")]
    assert named[0] == named[1]
    assert named[0] is not None
    assert [f"popularity/{path.name}" for path in (tmp_path / "popularity").iterdir()] == [named[0].file]


def test_another_split_has_another_file(build: Build, tmp_path: Path) -> None:
    eval_args: dict[str, Any] = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}
    build_of = build("SASRec", eval_args=eval_args, user_inter_num_interval="[10,inf)")
    assert keep_popularity(build_of.loaders, "tiny", tmp_path) != keep_popularity(
        build("SASRec").loaders, "tiny", tmp_path
    )
    assert len(list((tmp_path / "popularity").iterdir())) == 2


def test_users_with_several_test_items_have_none(build: Build, tmp_path: Path) -> None:
    eval_args = {"split": {"RS": [0.6, 0.2, 0.2]}, "group_by": "user", "order": "TO", "mode": "full"}
    assert keep_popularity(build("SASRec", eval_args=eval_args).loaders, "tiny", tmp_path) is None
    assert list(tmp_path.iterdir()) == []
