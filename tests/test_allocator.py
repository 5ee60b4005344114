"""Freed memory that is used again; and which errors say that there is none left."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from recbole_ext.allocator import is_out_of_memory, out_of_memory_as
from recbole_ext.errors import TuningError

MEASURED = """
import resource, torch
from recbole_ext.allocator import keep_freed_memory
{setting}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_large_blocks_are_used_again_without_new_pages() -> None:
    def faults(setting: str) -> int:
        program = MEASURED.format(setting=setting)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep_freed_memory()") * 10 < faults("")


def test_a_failed_allocation_is_out_of_memory_whoever_made_it() -> None:
    for allocate in (lambda: torch.empty(2**60), lambda: np.empty(2**58), lambda: bytearray(2**60)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The expanded size of the tensor (4) must match the existing size (3) at non-singleton memory 0"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)"),
        RuntimeError("pin memory thread exited unexpectedly"),
        ValueError("memory must be a number"),
        OSError(28, "No space left on device"),
    ],
)
def test_an_error_that_only_mentions_memory_is_not(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_whoever_runs_out_of_memory_is_told_what_to_lower_and_other_errors_stay() -> None:
    said = "while tuning: lower batch_size"
    with pytest.raises(TuningError, match=f"out of memory {said}") as caught, out_of_memory_as(TuningError, said):
        torch.empty(2**60)
    assert is_out_of_memory(caught.value.__cause__)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory must be a number"), out_of_memory_as(TuningError, "while tuning"):
        raise ValueError("memory must be a number")
