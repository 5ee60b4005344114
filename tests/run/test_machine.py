from __future__ import annotations

import subprocess
import sys

from recbole_ext.run.machine import peak_memory_mb


def test_peak_memory_is_not_that_of_the_process_which_started_this_one() -> None:
    ballast = bytearray(600 * 2**20)
    program = "from recbole_ext.run.machine import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(ballast) / 2**20 < peak_memory_mb()
    assert 1 < float(done.stdout) < 300
