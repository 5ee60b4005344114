"""A tiny encoder for the session, a tiny dataset for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from encode_runs import Encoded
from tiny_models import save_tiny_bert, write_items


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def data_path(tmp_path: Path) -> Path:
    return write_items(tmp_path / "data")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    return Encoded(monkeypatch)
