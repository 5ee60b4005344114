from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
import torch

from recbole_ext.errors import ConfigurationError
from recbole_ext.run.machine import cores, device_in_words, peak_memory_mb, require_gpu


def test_peak_memory_is_not_that_of_the_process_which_started_this_one() -> None:
    ballast = bytearray(600 * 2**20)
    program = "from recbole_ext.run.machine import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(ballast) / 2**20 < peak_memory_mb()
    assert 1 < float(done.stdout) < 300


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't bind a process to a core")
def test_cores_are_those_that_the_process_is_bound_to() -> None:
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    program = bound + "from recbole_ext.run.machine import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1 <= cores()


def test_the_device_says_which_processor_and_how_many_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        words = device_in_words(torch.device("cpu"))
    finally:
        torch.set_num_threads(before)
    assert re.fullmatch(r"cpu \(\S.*, 1 threads\)", words)


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
