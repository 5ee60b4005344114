"""Runs of one machine share out its GPUs; there is none here, so torch is told that there are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.benchmark import Resolved
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RunRecord
from recbole_ext.runs.gpus import Gpus, require_given, require_gpu_for_each_process, usable_gpus
from recbole_ext.runs.recording import is_done, record_run


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    """Of a machine that has three."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return Gpus()


def test_each_run_gets_a_gpu_of_its_own_and_then_they_share_evenly(gpus: Gpus) -> None:
    with ExitStack() as runs:
        taken = [runs.enter_context(gpus.for_run({})) for _ in range(7)]
    assert taken == ["0", "1", "2", "0", "1", "2", "0"]


def test_the_gpu_that_a_run_leaves_is_the_next_ones(gpus: Gpus) -> None:
    with gpus.for_run({}) as first, ExitStack() as others:
        others.enter_context(gpus.for_run({}))
        with gpus.for_run({}) as third:
            pass
        with gpus.for_run({}) as next_one:
            assert (first, third, next_one) == ("0", "2", "2")


@pytest.mark.parametrize("gpu_id", ["1,2", "1, 2", [1, 2], (1, 2)])
def test_gpu_id_says_which_are_used(gpus: Gpus, gpu_id: Any) -> None:
    with ExitStack() as runs:
        taken = [runs.enter_context(gpus.for_run({"gpu_id": gpu_id})) for _ in range(3)]
        others = [runs.enter_context(gpus.for_run({"gpu_id": number})) for number in (0, "2")]
        assert runs.enter_context(gpus.for_run({})) == "0"
    assert taken == ["1", "2", "1"] and others == ["0", "2"]


def test_what_this_process_may_see_is_shared_out_unless_gpu_id_says_otherwise(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8932f937")
    assert usable_gpus({}) == ["4", "GPU-8932f937"]
    assert usable_gpus({"gpu_id": 7}) == ["7"]  # as in RecBole


@pytest.mark.parametrize("keys", [{"use_gpu": False}, {"gpu_id": ""}, {"gpu_id": "", "use_gpu": True}])
def test_a_run_that_wants_no_gpu_sees_none(gpus: Gpus, keys: dict[str, Any]) -> None:
    with gpus.for_run(keys) as gpu:
        assert gpu == ""


def test_a_machine_without_gpus_has_none_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with Gpus().for_run({"gpu_id": 0}) as gpu:
        assert gpu == ""


def test_a_gpu_that_is_not_there_is_named(gpus: Gpus) -> None:
    with pytest.raises(ConfigurationError, match="no GPU 3; this machine has 0, 1, 2"), gpus.for_run({"gpu_id": "1,3"}):
        pass


def test_a_run_whose_gpu_is_gone_fails_instead_of_going_on_on_the_processor(
    resolved: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = resolved().specs()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert record_run(spec, threads=1, wait=False, gpus="1")
    error = RunRecord.read(spec.record_path).error
    assert error is not None and "was given GPU 1, and torch finds none now" in error
    assert record_run(spec, threads=1, wait=False) and is_done(spec), "one that was given none has none to lose"


def test_a_gpu_that_is_there_is_not_lost(gpus: Gpus) -> None:
    require_given("2")


def test_each_process_of_a_run_gets_a_gpu(gpus: Gpus) -> None:
    with gpus.for_run({}) as one, gpus.for_run({}, 2) as two, gpus.for_run({}, 3) as three:
        assert (one, two, three) == ("0", "1,2", "0,1,2")
    with gpus.for_run({"use_gpu": False}, 2) as none:
        assert none == ""


def shared(processes: int, **config: Any) -> Any:
    return SimpleNamespace(processes=processes, config=config)


def test_a_run_of_more_processes_than_gpus_is_refused(gpus: Gpus) -> None:
    require_gpu_for_each_process([shared(1), shared(3), shared(4, use_gpu=False)])
    with pytest.raises(ConfigurationError, match="nproc: 4 processes of a run take as many GPUs; it may use 0, 1, 2"):
        require_gpu_for_each_process([shared(4)])
    with pytest.raises(ConfigurationError, match="it may use 2"):
        require_gpu_for_each_process([shared(2, gpu_id=2)])


def test_processes_on_a_cpu_are_asked_for_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="nproc: 2 .*torch .*say use_gpu: false"):
        require_gpu_for_each_process([shared(2)])
