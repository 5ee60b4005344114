"""The protocol ``given``: files that are split already, with histories in their rows (UniSRec's layout) or plain."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_layouts import LAYOUTS, NAMES, PLAIN, WANTED, Lines, T

from recbole_ext.compat import make_recbole_work
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.stock import stock_keys
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import recbole_config
from recbole_ext.training import PreparedRun, prepare

Made = Callable[..., Dataset]

EVALUATION = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
KEYS: dict[str, Any] = {"benchmark_filename": NAMES, "MAX_ITEM_LIST_LENGTH": 5, "eval_args": EVALUATION}


def samples_of(files: dict[str, Lines], made: Made, **more: Any) -> list[list[tuple[str, str, str]]]:
    """User, item and history of the samples of each split, sorted."""
    make_recbole_work()
    from recbole.data.dataset import SequentialDataset

    from recbole_ext.data.given import given
    from recbole_ext.data.sequences import SequenceViewDataset

    dataset = made(files, **{**KEYS, **more}, model="SASRec")
    kind = given(SequenceViewDataset if files is PLAIN else SequentialDataset)
    whole = kind(stock_keys(dataset.name, dataset.folder, dataset.effective_keys))
    found = []
    for split in whole.build():
        rows = split[np.arange(len(split))]
        lists = zip(rows["item_id_list"].numpy(), rows["item_length"].tolist(), strict=True)
        histories = [" ".join(whole.id2token("item_id", items[:length])) for items, length in lists]
        names = [whole.id2token(field, rows[field].numpy()) for field in ("user_id", "item_id")]
        found.append(sorted(zip(*map(list, names), histories, strict=True)))
    return found


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_each_layout_gives_the_same_samples_in_the_order_of_exact_times(made: Made, files: dict[str, Lines]) -> None:
    assert samples_of(files, made) == WANTED


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_histories_keep_their_newest_items(made: Made, files: dict[str, Lines]) -> None:
    shorter = [[(user, item, history[-3:]) for user, item, history in split] for split in WANTED]
    assert samples_of(files, made, MAX_ITEM_LIST_LENGTH=2) == shorter


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_training_histories_are_those_of_the_first_file(made: Made, files: dict[str, Lines]) -> None:
    histories = made(files, **KEYS).training_histories()
    assert sorted(map(list, histories)) == [["a", "b", "c"], ["c", "d"], ["f", "g"]]


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_checked_trained_and_tested(made: Made, files: dict[str, Lines], tmp_path: Path) -> None:
    described = {"item": ["item_id:token\ttitle:token_seq", "e\tnew"]}
    dataset = made({**files, **described}, **KEYS, model="SASRec")
    assert any("1 of its items are not in own.train.inter, but in own.item" in said for said in dataset.check())
    runs = {model: run_of(model, dataset, tmp_path) for model in ("SASRec", "LastItem", "Pop", "BPR")}
    for model, run in runs.items():
        run.fit()
        assert set(run.test()) == {"recall@1", "recall@3"}, model
    fast = {"plain": "user"}.get(next(name for name, layout in LAYOUTS.items() if layout is files), "augmented")
    assert runs["SASRec"].samples.name == fast
    counts = np.asarray(runs["SASRec"].loaders.train._dataset.inter_matrix(form="csr").sum(axis=0)).ravel()
    names = runs["SASRec"].loaders.dataset.field2id_token["item_id"]
    assert {str(names[item]): int(n) for item, n in enumerate(counts) if n} == {
        "a": 1,
        "b": 1,
        "c": 2,
        "d": 1,
        "f": 1,
        "g": 1,
    }


def test_training_counts_the_only_row_of_a_user_there_for_all_kinds_of_models(made: Made, tmp_path: Path) -> None:
    once = [f"s{number}\td\t{T}" for number in range(3)]
    dataset = made({**PLAIN, "train.inter": [*PLAIN["train.inter"], *once]}, **KEYS, model="SASRec")
    counts = []
    for model in ("SASRec", "BPR"):
        train = run_of(model, dataset, tmp_path).loaders.train._dataset
        found = np.asarray(train.inter_matrix(form="csr").sum(axis=0)).ravel()
        names = train.field2id_token["item_id"]
        counts.append({str(names[item]): int(n) for item, n in enumerate(found) if n})
    assert counts[0] == counts[1] and counts[0]["d"] == 4


def test_plain_files_train_the_same_in_rows_and_on_recboles_samples(made: Made, tmp_path: Path) -> None:
    dataset = made(PLAIN, **KEYS, model="SASRec")
    whole = {"train_batch_size": 100, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    fast, stock = (
        run_of("SASRec", dataset, tmp_path, training_samples=samples, **whole) for samples in ("user", "augmented")
    )
    fast.fit(), stock.fit()
    for one, other in zip(fast.model.parameters(), stock.model.parameters(), strict=True):
        assert np.allclose(one.detach(), other.detach(), atol=1e-5)
    assert fast.test() == stock.test()


def test_plain_files_are_refused_where_a_model_s_own_dataset_class_makes_no_histories(
    made: Made, tmp_path: Path
) -> None:
    dataset = made(PLAIN, **KEYS, model="SASRec")
    sampled = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    with pytest.raises(ConfigurationError, match=r"DIEN reads data .* DIENDataset.*a column item_id_list:token_seq"):
        run_of("DIEN", dataset, tmp_path, **sampled)


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_a_dataset_goes_to_another_process(made: Made, files: dict[str, Lines], tmp_path: Path) -> None:
    """As RecBole's loader workers need it where processes are spawned."""
    dataset = run_of("SASRec", made(files, **KEYS, model="SASRec"), tmp_path).loaders.test._dataset
    again = pickle.loads(pickle.dumps(dataset))
    assert type(again) is type(dataset)
    rows = np.arange(len(dataset))
    assert again[rows]["item_id_list"].tolist() == dataset[rows]["item_id_list"].tolist()


def run_of(model: str, dataset: Dataset, folder: Path, **settings: Any) -> PreparedRun:
    keys = {
        **dataset.recbole_keys,
        "data_path": str(dataset.data_path),
        "checkpoint_dir": str(folder / "checkpoints"),
        "rank_seen_items": "auto",
        "metrics": ["Recall"],
        "topk": [1, 3],
        "valid_metric": "Recall@3",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1} if model == "BPR" else None,
        "hidden_size": 8,
        "inner_size": 8,
        "embedding_size": 8,
        "epochs": 2,
        "show_progress": False,
    }
    keys.pop("model", None)
    return prepare(recbole_config(model, dataset.name, {**keys, **settings}), folder / "best.pth")
