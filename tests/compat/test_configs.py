"""RecBole's ``Config`` inside another program: its command line is left alone, its values are plain."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.compat import plain_config, without_command_line

Build = Callable[..., SimpleNamespace]


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


def test_a_config_takes_no_gpu_away_from_this_process_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole.config import Config

    from recbole_ext.models import recbole_config

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    plain = {"train_neg_sample_args": None}
    for has, gpu_id, left in ((None, {}, "0,1,2"), ("4,5", {}, "4,5"), ("4,5", {"gpu_id": "1"}, "1")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", has) if has else monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        recbole_config("SASRec", "ml-100k", {**plain, **gpu_id})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == left
    Config(model="SASRec", dataset="ml-100k", config_dict=plain)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


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
