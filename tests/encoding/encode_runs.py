"""Calls of the encode stage on the tiny dataset, and what passes through them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding import Compute
from recbole_ext.encoding.encoder import PROBES
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.vectors.source import Made

TEMPLATE = ["{title}", "{brand}"]
TEXTS = {
    "a": "red car. acme",
    "b": "blue car with a roof. acme",
    "c": "red car. acme",
    "e": 'the "great" lake & a very long story about it. nobody',
    "f": '"unbalanced',
    "g": "x. y",
}


class Encoded:
    """Counts the texts that go through the real encoder, and may fail after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from sentence_transformers import SentenceTransformer

        self.texts: list[str] = []
        self.fail_after: int | None = None
        original = SentenceTransformer.encode

        def counted(model: Any, texts: list[str], **options: Any) -> Any:
            if set(texts) <= set(PROBES):
                return original(model, texts, **options)
            if self.fail_after is not None and len(self.texts) >= self.fail_after:
                raise KeyboardInterrupt
            self.texts += texts
            return original(model, texts, **options)

        monkeypatch.setattr(SentenceTransformer, "encode", counted)


def run(data_path: Path, encoder: Path | str, out: Path, **options: Any) -> Made:
    """``Encoder.make`` with these settings and these ways of computing."""
    options = {"template": TEMPLATE, "devices": ["cpu"]} | options
    compute = {key: options.pop(key) for key in Compute.model_fields if key in options}
    source = Encoder.checked({"encoder": str(encoder), **options}, "test")
    dataset = Dataset.named("tiny", data_path, configs=data_path)
    return source.make(dataset, out, data_path.parent / "artifacts", Compute.checked(compute, "test"))


def texts_done(made: Made) -> int:
    """How many texts the call encoded, as it says."""
    return int(made.notes[0].split()[0])


def reference(encoder: Path | str, texts: list[str]) -> torch.Tensor:
    """Each text alone through sentence-transformers, so without padding and sorting."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(encoder), device="cpu")
    return torch.stack([torch.as_tensor(model.encode(text)) for text in texts])
