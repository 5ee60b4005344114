"""``recbole-ext bench`` writes what its kinds found, with what made it, and prints the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.bench import commands
from recbole_ext.bench.commands import OUT, Finding
from recbole_ext.bench.contest import Contest
from recbole_ext.cli import build_parser
from recbole_ext.errors import ConfigurationError, MeasurementError


def test_what_a_kind_found_is_written_with_what_made_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = build_parser().parse_args(["bench", "memory", f"--out={tmp_path}"])
    options.line = "recbole-ext bench memory"
    options.measure = lambda _: iter(
        [Finding("memory", {"peak": 3}, ["| peak |"]), Finding("table", None, ["| all |"])]
    )
    assert commands._run(options) == 0
    (folder,) = tmp_path.iterdir()
    assert folder.name == commands.folder_of_this_device()
    written = json.loads((folder / "memory.json").read_text())
    assert (
        written["command"] == options.line and written["peak"] == 3 and {"versions", "git_revision"} <= written.keys()
    )
    assert (folder / "memory.md").read_text() == "Made by `recbole-ext bench memory`.\n\n| peak |\n"
    assert sorted(path.name for path in folder.iterdir()) == ["memory.json", "memory.md", "table.md"]
    assert capsys.readouterr().out == "| peak |\n| all |\n"


def test_what_was_found_before_a_failure_is_kept(tmp_path: Path) -> None:
    def broken(_: object) -> Iterator[Finding]:
        yield Finding("first", {}, None)
        raise KeyboardInterrupt

    options = build_parser().parse_args(["bench", f"--out={tmp_path}"])
    options.line, options.measure = "", broken
    with pytest.raises(KeyboardInterrupt):
        commands._run(options)
    assert list(tmp_path.glob("*/first.json"))


def test_the_table_has_the_contests_of_earlier_calls_too_and_names_their_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contest(asked: Contest) -> dict[str, Any]:
        side = {"seconds_per_epoch": 2.0}
        about = {"dataset": asked.dataset.name, "model": asked.model}
        sides = {"stock": side, "recbole-ext": side}
        return {"contest": about, "sides": sides, "ratios": {"seconds_per_epoch": 1.0}}

    monkeypatch.setattr("recbole_ext.bench.contest.run_contest", contest)
    folder = tmp_path / commands.folder_of_this_device()
    folder.mkdir()
    (folder / "memory.json").write_text("{}")
    (folder / "half.json").write_text('{"contest": ')
    for model in ("SASRec", "GRU4Rec"):
        options = build_parser().parse_args(["bench", f"--model={model}", f"--out={tmp_path}"])
        options.line = f"bench {model}"
        assert commands._run(options) == 0
    said = (folder / "table.md").read_text(encoding="utf-8")
    assert said.startswith("Made by `bench GRU4Rec` and `bench SASRec`.")
    assert "| ml-100k | SASRec |" in said and "| ml-100k | GRU4Rec |" in said


def test_too_little_memory_for_a_measurement_is_said_in_words(tmp_path: Path) -> None:
    def too_large(_: object) -> Iterator[Finding]:
        yield Finding("first", {}, None)
        raise torch.OutOfMemoryError("CUDA out of memory")

    options = build_parser().parse_args(["bench", f"--out={tmp_path}"])
    options.line, options.measure = "", too_large
    with pytest.raises(MeasurementError, match="out of memory in bench: free some"):
        commands._run(options)


def test_the_folder_of_a_device_is_a_plain_word(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "cpu (Intel(R) Xeon(R) Processor @ 2.50GHz, 2 threads)"
    monkeypatch.setattr("recbole_ext.machine.device_in_words", lambda device: said)
    assert commands.folder_of_this_device() == "cpu-intel-r-xeon-r-processor-2-50ghz-2-threads"


def test_without_repeats_nothing_is_measured(tmp_path: Path) -> None:
    options = build_parser().parse_args(["bench", "options", "--repeats=0", f"--out={tmp_path}"])
    options.measure = None
    with pytest.raises(ConfigurationError, match="--repeats: at least 1; got 0"):
        commands._run(options)


def test_the_home_folder_is_found_in_the_data_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert build_parser().parse_args(["bench", "encode", "--data-path=~/data"]).data_path == Path("/home/ann/data")


def test_a_user_writes_to_runs_and_not_to_the_published_results() -> None:
    assert build_parser().parse_args(["bench"]).out == OUT == Path("runs/performance")
