"""Freed memory that is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
