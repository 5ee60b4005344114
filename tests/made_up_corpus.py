"""Twenty made-up items and ten sequences of them to tune on."""

from __future__ import annotations

import numpy as np

from recbole_ext.tuning.corpus import Corpus

ATTRIBUTES = [[("title", f"thing number {n} for some purpose"), ("brand", "acme")] for n in range(20)]
TEXTS = [f"thing number {n}" for n in range(20)]
SEQUENCES = [np.arange(1 + start, 7 + start) for start in range(10)]
PARTS = [[f"thing number {n}", "acme", f"made for purpose {n % 4}"] for n in range(20)]
CORPUS = Corpus(ATTRIBUTES, TEXTS, SEQUENCES, 0, PARTS)
DECODERS = {"next-title": "gpt2"}
"""The tiny encoder of an objective that is no bert."""


def numbered(examples: list[np.ndarray], epoch: int = 0) -> list[tuple[int, np.ndarray]]:
    return [(epoch * len(examples) + n, example) for n, example in enumerate(examples)]
