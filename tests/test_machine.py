from __future__ import annotations

import builtins
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext import machine
from recbole_ext.errors import ConfigurationError
from recbole_ext.machine import (
    cores,
    device_in_words,
    devices_in_words,
    peak_memory_mb,
    require_gpu,
    shared,
    threads_per_run,
    without_home,
)


def test_peak_memory_is_not_that_of_the_process_which_started_this_one() -> None:
    ballast = bytearray(600 * 2**20)
    program = "from recbole_ext.machine import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(ballast) / 2**20 < peak_memory_mb()
    assert 1 < float(done.stdout) < 300


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't bind a process to a core")
def test_cores_are_those_that_the_process_is_bound_to() -> None:
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    program = bound + "from recbole_ext.machine import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1 <= cores()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")
@pytest.mark.parametrize(("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_cores_are_no_more_than_a_container_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int
) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(quota)
    exists, opened = os.path.exists, builtins.open

    def path(name: Any) -> Any:
        return limit if name == "/sys/fs/cgroup/cpu.max" else name

    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os.path, "exists", lambda name: exists(path(name)))
    monkeypatch.setattr(builtins, "open", lambda name, *options, **more: opened(path(name), *options, **more))
    assert cores() == expected


@pytest.mark.parametrize(
    ("parallel", "limit", "expected"),
    [(1, None, 8), (2, None, 4), (3, None, 2), (20, None, 1), (2, "1", 1), (4, "8", 2), (1, "3,2", 3), (1, "no", 8)],
)
def test_runs_share_the_cores_and_keep_to_omp_num_threads(
    monkeypatch: pytest.MonkeyPatch, parallel: int, limit: str | None, expected: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert threads_per_run(parallel) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/data", "~/data"),
        (
            "recbole-ext run mine.yaml '--data_path=/home/ann/my data'",
            "recbole-ext run mine.yaml '--data_path=~/my data'",
        ),
        ('File "/home/ann/x.py", line 1', 'File "~/x.py", line 1'),
        ("/home/anna/data", "/home/anna/data"),
        ("/mnt/home/ann/data", "/mnt/home/ann/data"),
        ("data/ann", "data/ann"),
    ],
)
def test_what_may_be_shared_does_not_name_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert without_home(text) == expected


def test_settings_that_may_be_shared_do_not_name_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    source = {"fused": [{"of": {"encoder": "/home/ann/x"}, "scale": 2}, ("/home/ann",)], "dim": None}
    assert shared(source) == {"fused": [{"of": {"encoder": "~/x"}, "scale": 2}, ["~"]], "dim": None}


def test_without_a_home_folder_a_text_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    assert without_home("/data/x") == "/data/x"


def test_the_device_says_which_processor_and_how_many_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        words = device_in_words(torch.device("cpu"))
    finally:
        torch.set_num_threads(before)
    assert re.fullmatch(r"cpu \(\S.*, 1 threads\)", words)


def test_an_accelerator_is_called_by_its_name_or_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("cuda", "xpu"):
        monkeypatch.setattr(getattr(torch, kind), "get_device_name", lambda device, kind=kind: f"a {kind} card")
        assert device_in_words(torch.device(kind)) == device_in_words(f"{kind}:0") == f"a {kind} card"
    assert re.fullmatch(r"mps \(\S.*\)", device_in_words("mps"))


def test_several_devices_are_all_named_and_alike_ones_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old card" if device.index == 1 else "a card")
    assert devices_in_words(["cuda:0", "cuda:1", "cuda:2"]) == "2 × a card and an old card"
    assert devices_in_words(["cuda:1"]) == "an old card"


@pytest.mark.parametrize("settings", [{"use_gpu": True}, {"gpu_id": "0,1"}, {"gpu_id": 0}])
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    key = next(iter(settings))
    with pytest.raises(ConfigurationError, match=f"{key}: torch finds no GPU here. Leave {key} out"):
        require_gpu(settings)


@pytest.mark.parametrize("settings", [{}, {"use_gpu": False}, {"gpu_id": ""}, {"use_gpu": False, "gpu_id": 0}])
def test_nothing_is_said_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    require_gpu(settings)
