"""``bench encode``: both sides encode the same texts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.bench import encoding
from recbole_ext.bench.encoding import encoding_table, run_encoding_contest
from recbole_ext.data.dataset import Dataset


def test_both_ways_encode_the_same_texts_and_the_second_call_none(
    tiny: Dataset, tiny_encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []

    def tokenizer(texts: list[str], truncation: bool, max_length: int) -> dict[str, list[list[str]]]:
        return {"input_ids": [["[CLS]", *text.split()][: max_length if truncation else None] for text in texts]}

    model = SimpleNamespace(
        device=torch.device("cpu"),
        encode=lambda texts, **_: given.append(list(texts)),
        tokenizer=tokenizer,
        max_seq_length=3,
    )
    monkeypatch.setattr(encoding, "load_encoder", lambda source, settings: model)
    made: list[Any] = []
    make = encoding.Encoder.make
    monkeypatch.setattr(encoding.Encoder, "make", lambda *given: made.append(make(*given)))
    result = run_encoding_contest(tiny, str(tiny_encoders["bert"]), 3)
    assert given == [[f"thing number {item}" for item in range(60)]] * 3
    assert [(one.items, one.up_to_date) for one in made] == [(60, False), (60, True)] * 3
    assert len({one.store for one in made}) == 3, "each repeat makes a fresh store"
    assert {name: len(values) for name, values in result["seconds"].items()} == dict.fromkeys(result["seconds"], 3)
    medians = result["medians"]
    assert result["throughput_ratio"] == medians["sentence-transformers"] / medians["recbole-ext"]
    assert result["tokens"] == 60 * 3, "of four tokens a text, three are read"
    assert len(encoding_table(result)) == 5
