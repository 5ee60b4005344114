"""Runs in processes of their own: stock RecBole's, in which nothing of this package is, and this package's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_ext.models import defaults_that_recbole_lacks

Settings = dict[str, Any]
Case = tuple[str, str, Settings]

METRICS_OF = """
def metrics_of(validation, test):
    splits = {"validation": validation or {}, "test": test or {}}
    return {"metrics": {split: {name: float(value) for name, value in of.items()} for split, of in splits.items()}}
"""
# Nothing of this package in it. `saved=False` spares RecBole its own checkpoint, which torch >= 2.6 refuses to load.
STOCK = (
    METRICS_OF
    + """
from recbole.quick_start import run_recbole

def run(model, dataset, settings):
    result = run_recbole(model, dataset, config_dict=settings, saved=False)
    return metrics_of(result["best_valid_result"], result["test_result"])
"""
)
# RecBole's own steps with the compat layer, which is needed where RecBole is older than what is installed.
MENDED = (
    METRICS_OF
    + """
from recbole_ext.compat import make_recbole_work
make_recbole_work()
from recbole.config import Config
from logging import getLogger
from recbole.data import create_dataset, data_preparation
from recbole.data.transform import construct_transform
from recbole.utils import get_flops, get_model, get_trainer, init_seed

def run(model, dataset, settings):
    config = Config(model=model, dataset=dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    try:  # a prediction that is counted may draw random numbers
        get_flops(model, dataset, config["device"], getLogger(), construct_transform(config))
    except Exception:
        pass  # some models can't be counted
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    _, validation = trainer.fit(train, valid, show_progress=False)
    return metrics_of(validation, trainer.evaluate(test, show_progress=False))
"""
)
# Every case has its own limit of processor time; a case that exceeds it ends the process.
FIRST = """
import json, resource, sys, time
def numbered(keys):  # JSON's keys are text, FFM's fields are numbers
    return {int(key) if key.isdigit() else key: value for key, value in keys.items()}
cases, limit = json.loads(sys.argv[1], object_hook=numbered)
sys.argv = sys.argv[:1]
"""
EACH_CASE = """
for case in cases:
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + limit, resource.RLIM_INFINITY))
    try:
        result = run(*case)
    except Exception as error:
        result = {"failure": f"{type(error).__name__}: {error}"[:200]}
    print("RESULT", json.dumps(result), flush=True)
"""


def stock(cases: Sequence[Case], folder: Path, limit: int = 900) -> list[dict[str, Any]]:
    """Stock RecBole's ``metrics`` by split of each (model, dataset, settings), in a process of their own.

    Where it fails by itself, the metrics are those with the compat layer, and ``mended`` says what it failed of;
    ``failure`` stands instead of metrics where it fails in both ways.

    Args:
        folder: where the processes work.
        limit: seconds of processor time for each case.
    """
    arguments = [
        [model, dataset, {**defaults_that_recbole_lacks(model), **settings, "checkpoint_dir": str(folder / "stock")}]
        for model, dataset, settings in cases
    ]
    results = in_processes(STOCK, arguments, folder, limit)
    failed = [number for number, result in enumerate(results) if "failure" in result]
    again = in_processes(MENDED, [arguments[number] for number in failed], folder, limit)
    for number, mended in zip(failed, again, strict=True):
        results[number] = mended | ({"mended": results[number]["failure"]} if "metrics" in mended else {})
    return results


def _ended_by(done: subprocess.CompletedProcess[str], limit: int) -> str:
    if done.returncode == -signal.SIGXCPU:
        return f"not done after {limit} s"
    if done.returncode < 0:
        return f"its process was ended by {signal.Signals(-done.returncode).name}"
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(" ")]
    return (said or ["no word"])[-1][:200]


def in_processes(program: str, cases: Sequence[Any], folder: Path, limit: int) -> list[dict[str, Any]]:
    """What ``program``, which defines ``run``, makes of each case: all in one process, as long as that lives.

    ``failure`` says what a case ended with: an error, or the end of its process.
    """
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    results: list[dict[str, Any]] = []
    while len(results) < len(cases):
        command = [sys.executable, "-c", FIRST + program + EACH_CASE, json.dumps([cases[len(results) :], limit])]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        results += [json.loads(line.removeprefix("RESULT ")) for line in lines]
        if len(results) < len(cases):
            results.append({"failure": _ended_by(done, limit)})
    return results
