"""Runs keep the weights of their best epoch where a benchmark asks for it, and are done again where those are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from recbole_ext.benchmark import Resolved, RunSpec
from recbole_ext.errors import ConfigurationError
from recbole_ext.hashing import sha256_of_file
from recbole_ext.runs.recording import is_done
from recbole_ext.runs.single import run_once


@pytest.fixture
def spec(resolved: Callable[..., Resolved]) -> RunSpec:
    return next(resolved(keep_checkpoints=True).specs())


def test_the_weights_of_the_best_epoch_lie_beside_the_record_and_nothing_else_of_the_training(spec: RunSpec) -> None:
    made = run_once(spec).done
    assert made.checkpoint is not None
    assert made.checkpoint.file == f"runs/{spec.weights_path.name}"
    assert made.checkpoint.sha256 == sha256_of_file(spec.weights_path)
    state = torch.load(spec.weights_path, weights_only=True)
    assert set(state) == {"state_dict", "other_parameter"}
    assert sum(weight.numel() for weight in state["state_dict"].values()) == made.parameters.total
    assert not list((spec.artifacts / "checkpoints").rglob("*.pth"))


def test_a_run_is_done_only_where_its_weights_are(spec: RunSpec) -> None:
    without = replace(spec, keep_checkpoint=False)
    assert without.identity == spec.identity  # what is kept decides no result
    run_once(without)
    assert is_done(without) and not is_done(spec)
    assert not spec.weights_path.exists()
    first = run_once(spec)
    assert is_done(without) and is_done(spec)
    spec.weights_path.unlink()
    assert is_done(without) and not is_done(spec)
    assert run_once(spec).done.test == first.done.test


@pytest.mark.parametrize("keys", [{}, {"keep_checkpoints": False}])
def test_by_default_nothing_is_kept(resolved: Callable[..., Resolved], keys: dict[str, Any]) -> None:
    assert not next(resolved(**keys).specs()).keep_checkpoint
    assert next(resolved("--keep_checkpoints=true", **keys).specs()).keep_checkpoint


def test_boosted_trees_are_refused_before_anything_runs(
    resolved: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole.utils import ModelType

    from recbole_ext.models import model_class

    monkeypatch.setattr(model_class("SASRec"), "type", ModelType.DECISIONTREE)
    with pytest.raises(ConfigurationError, match="keep_checkpoints: SASRec is a boosted tree"):
        resolved(keep_checkpoints=True)
