"""Two stacks of dependencies give the same datasets and the same metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("stack_digest.py")
OTHER = os.environ.get("STACK_DIGEST")
"""What ``stack_digest.py`` wrote in the other environment; CI makes it in the one with the lowest versions."""


@pytest.fixture(scope="module")
def other() -> dict[str, Any]:
    if not OTHER:
        pytest.skip("STACK_DIGEST names no file of another environment")
    return json.loads(Path(OTHER).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def own(other: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("stack") / "digest.json"
    full = ["--full"] if any(name.startswith("ml-100k") for name in other["metrics"]) else []
    done = subprocess.run([sys.executable, SCRIPT, out, *full], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text(encoding="utf-8"))


def test_the_other_stack_is_another(own: dict[str, Any], other: dict[str, Any]) -> None:
    assert own["versions"] != other["versions"]


def test_every_data_option_gives_the_same_dataset(own: dict[str, Any], other: dict[str, Any]) -> None:
    differing = {
        option: sorted(field for field in {**theirs, **ours} if theirs.get(field) != ours.get(field))
        for option, theirs in other["datasets"].items()
        if (ours := own["datasets"].get(option, {})) != theirs
    }
    assert differing == {}
    assert own["datasets"].keys() == other["datasets"].keys()


def test_every_model_gets_the_same_metrics(own: dict[str, Any], other: dict[str, Any]) -> None:
    assert own["metrics"].keys() == other["metrics"].keys()
    for run, theirs in other["metrics"].items():
        assert own["metrics"][run] == pytest.approx(theirs, abs=1e-6), run
