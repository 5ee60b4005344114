from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.bench import encoding
from recbole_ext.bench.encoding import encoding_table, run_encoding_contest


def test_both_ways_encode_the_same_texts_and_the_second_call_none(
    atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []
    model = SimpleNamespace(device=torch.device("cpu"), encode=lambda texts, **_: given.append(list(texts)))
    calls: list[Path] = []

    def stage(dataset: str, data_path: str, encoder: str, *, out: Path, template: Any) -> None:
        calls.append(out)

    monkeypatch.setattr(encoding, "load_encoder", lambda source: model)
    monkeypatch.setattr(encoding, "resolve_encoder", lambda name: None)
    monkeypatch.setattr(encoding, "encode", stage)
    out = tmp_path / "encode-tiny.json"
    result = run_encoding_contest("tiny", str(atomic_folder), None, "minilm", 3, out, "recbole-ext bench encode")
    assert json.loads(out.read_text()) == result
    assert given == [[f"thing number {item}" for item in range(60)]] * 3
    assert len(calls) == 6 and calls[0] == calls[1] and len(set(calls)) == 3, "a fresh store, then the same again"
    assert {name: len(values) for name, values in result["seconds"].items()} == dict.fromkeys(result["seconds"], 3)
    medians = result["medians"]
    assert result["throughput_ratio"] == medians["sentence-transformers"] / medians["recbole-ext"]
    assert len(encoding_table(result)) == 5
