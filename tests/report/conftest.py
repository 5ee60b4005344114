from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import Benchmark


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path / "results" / "amazon")
