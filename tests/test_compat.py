"""RecBole 1.2.1 on current dependencies: checkpoints, quotes, numpy's old names, foreign command lines."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.compat import make_recbole_work, plain_config, without_command_line

Build = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module", autouse=True)
def in_a_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stock RecBole writes its logs into the working folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(tmp_path_factory.mktemp("working"))
        yield


@pytest.fixture(scope="module")
def trained(build: Build) -> SimpleNamespace:
    """Stock RecBole's own trainer after two epochs, its checkpoint on disk."""
    from recbole.trainer import Trainer

    built = build("SASRec", epochs=2, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    built.trainer = Trainer(built.config, built.model)
    built.best, built.validation = built.trainer.fit(built.loaders.train, built.loaders.valid, verbose=False)
    return built


def test_a_checkpoint_loads_with_weights_only(trained: SimpleNamespace) -> None:
    checkpoint = torch.load(trained.trainer.saved_model_file, weights_only=True)
    assert checkpoint["config"]["model"] == "SASRec"
    assert checkpoint["best_valid_score"] == pytest.approx(trained.best)
    assert set(checkpoint) == {
        "config",
        "epoch",
        "cur_step",
        "best_valid_score",
        "state_dict",
        "other_parameter",
        "optimizer",
    }
    for name, weight in trained.model.state_dict().items():
        assert checkpoint["state_dict"][name].shape == weight.shape


def test_evaluation_reads_the_best_checkpoint(trained: SimpleNamespace) -> None:
    expected = dict(trained.trainer.evaluate(trained.loaders.test, load_best_model=True))
    with torch.no_grad():
        for parameter in trained.model.parameters():
            parameter.zero_()
    assert dict(trained.trainer.evaluate(trained.loaders.test, load_best_model=False)) != expected
    assert dict(trained.trainer.evaluate(trained.loaders.test, load_best_model=True)) == expected


def test_training_resumes_from_a_checkpoint(trained: SimpleNamespace, build: Build) -> None:
    from recbole.trainer import Trainer

    checkpoint = torch.load(trained.trainer.saved_model_file, weights_only=True)
    fresh = build("SASRec", epochs=checkpoint["epoch"] + 2, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    trainer = Trainer(fresh.config, fresh.model)
    trainer.resume_checkpoint(trained.trainer.saved_model_file)
    assert trainer.start_epoch == checkpoint["epoch"] + 1
    assert trainer.best_valid_score == checkpoint["best_valid_score"]
    for name, weight in fresh.model.state_dict().items():
        assert torch.equal(weight, checkpoint["state_dict"][name])
    steps = [state["step"].item() for state in checkpoint["optimizer"]["state"].values()]
    trainer.fit(fresh.loaders.train, fresh.loaders.valid, verbose=False, saved=False)
    assert sorted(trainer.train_loss_dict) == [checkpoint["epoch"] + 1]
    resumed = [state["step"].item() for state in trainer.optimizer.state_dict()["state"].values()]
    assert min(resumed) == max(steps) + len(fresh.loaders.train)


def test_a_failed_write_leaves_the_old_checkpoint(trained: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(trained.trainer.saved_model_file)
    before = path.read_bytes()

    def full(state: Any, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        trained.trainer._save_checkpoint(5, verbose=False)
    assert path.read_bytes() == before
    assert [left for left in path.parent.iterdir() if left.suffix == ".tmp"] == []


TITLES = ['"Quoted" from the start', 'an unbalanced " in the middle', '"unbalanced at the start', "5' 10\"", "plain"]


def test_an_atomic_file_with_quotes_loads_line_by_line(tmp_path: Path, build: Build) -> None:
    (tmp_path / "tiny").mkdir()
    rows = [f"u{user}\ti{item}\t{item}.1" for user in range(5) for item in range(5)]
    (tmp_path / "tiny" / "tiny.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n"
    )
    titles = [f"i{item}\t{title}" for item, title in enumerate(TITLES)]
    (tmp_path / "tiny" / "tiny.item").write_text("\n".join(["item_id:token\ttitle:token", *titles]) + "\n")
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}
    dataset = build("SASRec", data_path=str(tmp_path), load_col=columns).dataset
    features = dataset.get_item_feature()
    assert dataset.item_num == 6
    for item, title in enumerate(TITLES):
        number = dataset.token2id("item_id", f"i{item}")
        assert dataset.id2token("title", int(features["title"][number])) == title


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


@pytest.mark.parametrize("alias", ["bool", "int", "float", "object"])
def test_numpy_has_the_names_that_recbole_uses(alias: str) -> None:
    make_recbole_work()
    assert np.zeros(2, dtype=getattr(np, alias)).shape == (2,)


def test_recbole_does_not_read_the_command_line_of_its_host(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole.config import Config

    arguments = ["program", "--epochs=77", "--hidden_size=5"]
    monkeypatch.setattr(sys, "argv", arguments)
    unprotected = Config(model="SASRec", dataset="ml-100k", config_dict={"epochs": 3, "train_neg_sample_args": None})
    assert unprotected["epochs"] == 77
    assert build("SASRec", epochs=3).config["epochs"] == 3
    assert sys.argv == arguments


def test_the_command_line_comes_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "--epochs=77"])
    with pytest.raises(ValueError, match="broken"), without_command_line():
        assert sys.argv == ["program"]
        raise ValueError("broken")
    assert sys.argv == ["program", "--epochs=77"]


def test_a_config_becomes_plain_values(build: Build) -> None:
    plain = plain_config(build("SASRec").config)

    def is_plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and is_plain(part) for key, part in value.items())
        if isinstance(value, list):
            return all(is_plain(part) for part in value)
        return value is None or type(value) in (bool, int, float, str)

    assert [key for key, value in plain.items() if not is_plain(value)] == []
    assert plain["hidden_size"] == 16
    assert plain["topk"] == [5, 10]
    assert plain["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert plain["MODEL_TYPE"] == "SEQUENTIAL"
    assert plain["device"] == "cpu" or plain["device"].startswith("cuda")
