"""Several processes tune one encoder (``torchrun``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tunings import fast, run

from recbole_ext.data.dataset import Dataset
from recbole_ext.tuning.stage import own_accelerator
from recbole_ext.tuning.tuning import TunedEncoder, Tuning


def test_how_many_processes_tune_is_part_of_what_is_asked_for(
    atomic_folder: Path, bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Dataset.named("tiny", atomic_folder, configs=atomic_folder)
    wanted = TunedEncoder(Tuning.parse({"objective": "pairs", "sources": ["tiny"]}, "tune"), bert, (source,))
    alone = wanted.request()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert wanted.request() == alone, "a scheduler's word for something else"
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert wanted.request() == {**alone, "processes": 4}


def test_each_process_begins_on_an_accelerator_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert own_accelerator() is None
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    assert own_accelerator() == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_accelerator() == torch.device("cuda:1")


def torchrun(arguments: list[str], processes: int = 2) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    checkout = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [*program, "-m", "recbole_ext", "tune", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": checkout},
    )


def test_two_processes_write_one_folder_and_tune_what_one_does_with_twice_the_batch(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "objective": "pairs",
        "dropout": 0,
        "held_out": 0.2,
        "learning_rate": 1e-3,
        **fast("pairs"),
    }
    options = [part for key, value in {**settings, "batch_size": 4}.items() for part in (f"--{key}", str(value))]
    together = ["tiny", "--data-path", str(atomic_folder), "--encoder", bert, "--out", str(tmp_path / "two"), *options]
    done = torchrun(together)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two"]
    assert len([line for line in done.stdout.splitlines() if "pairs on tiny" in line]) == 1
    assert "Traceback" not in done.stderr and "destroy_process_group" not in done.stderr

    one = run(atomic_folder, bert, tmp_path / "one", **settings).record
    two = json.loads((tmp_path / "two" / "tuning.json").read_text())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert [entry["step"] for entry in one["curve"]] == [entry["step"] for entry in two["curve"]]
    losses = [[entry["loss"] for entry in record["curve"] if "loss" in entry] for record in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    # The rest that fills no batch is filled up in the last batch of two processes, so it has more negatives.
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], rel=0.02)
    assert two["tokens_per_second"] * two["seconds"] == pytest.approx(
        one["tokens_per_second"] * one["seconds"], rel=0.1
    )
    before = load_file(Path(bert) / "model.safetensors")
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")}
    change = max(float((before[key] - value).abs().max()) for key, value in weights["one"].items() if key in before)
    difference = max(float((weights["two"][key] - value).abs().max()) for key, value in weights["one"].items())
    assert difference < 0.01 * change

    again = torchrun(together)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("up to date") == 1


def test_two_processes_are_told_of_a_folder_that_tune_did_not_write(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    options = ["--data-path", str(atomic_folder), "--encoder", bert, "--out", str(tmp_path / "mine")]
    done = torchrun(["tiny", *options])
    assert done.returncode != 0
    assert "was not written by `tune`" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]
