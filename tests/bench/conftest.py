"""The made-up dataset, and settings of a model that is trained on it in a blink."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.data.dataset import Dataset

SMALL: dict[str, Any] = {"hidden_size": 16, "inner_size": 16, "train_batch_size": 128}


@pytest.fixture
def tiny(atomic_folder: Path) -> Dataset:
    return Dataset.named("tiny", atomic_folder)


@pytest.fixture
def small() -> dict[str, Any]:
    return dict(SMALL)


@pytest.fixture(autouse=True)
def restore_anomaly_detection() -> Iterator[None]:
    """Stock RecBole's side switches it on, as stock RecBole does."""
    before = torch.is_anomaly_enabled()
    yield
    torch.autograd.set_detect_anomaly(before)
