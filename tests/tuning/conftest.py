"""An encoder that is tuned in a second."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def bert(tiny_encoders: dict[str, Path]) -> str:
    return str(tiny_encoders["bert"])
