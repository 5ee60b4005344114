"""Small grids that are run by the command itself, in processes that can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import psutil

from recbole_ext.benchmark import load_benchmark, resolve
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.records import RunRecord
from recbole_ext.runs.executors import Executor, executor_of

SEARCH = {"space": {"hidden_dropout_prob": [0.1, 0.8]}}
CONFIG: dict[str, Any] = {"train_batch_size": 64, "topk": [1, 5, 10], "use_gpu": False, "epochs": 6}
CHECKOUT = Path(__file__).resolve().parents[2]


def hear_ctrl_c() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and so the tests where they are one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(it_is_so: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not it_is_so() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    assert it_is_so(), finish(process)


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """``recbole-ext run`` in a process group of its own, one thread per run."""
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "recbole_ext", "run", str(path), *arguments],
        cwd=path.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it said."""
    out, errors = process.communicate(timeout=900)
    return process.returncode, out + errors


def record_files(folder: Path) -> list[Path]:
    return sorted((folder / "results" / "trial" / "runs").glob("[!.]*.json"))


def records_of(folder: Path) -> list[RunRecord]:
    return [RunRecord.read(path) for path in record_files(folder)]


def tables(folder: Path) -> str:
    """What the leaderboard says of quality; what runs cost is never the same twice."""
    table = pandas.read_csv(folder / "results" / "trial" / "leaderboard.csv")
    names = ["rank", "dataset", "model", "variant", "protocol"]
    return table[names + [str(column) for column in table if "@" in str(column)]].to_csv(index=False)


def kill_a_run(process: subprocess.Popen[str], folder: Path, is_run: Callable[[psutil.Process], bool]) -> None:
    """SIGKILL to one of the grid's runs once it is training: its checkpoint is there."""
    checkpoints = folder / "artifacts" / "checkpoints"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if list(checkpoints.rglob("*.pth")):
                for child in psutil.Process(process.pid).children(recursive=True):
                    if is_run(child):
                        child.kill()
                        return
        time.sleep(0.05)
    raise AssertionError("no run was seen training: " + "".join(finish(process)[1]))


def first_run(path: Path) -> RunSpec:
    return next(resolve(*load_benchmark(path), "", path.name).specs())


def executor_for(path: Path, **overrides: Any) -> Executor:
    benchmark, _ = load_benchmark(path, overrides)
    return executor_of(benchmark)
