"""Small atomic files, written line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from recbole_ext.data.dataset import Dataset

HEADER = "user_id:token\titem_id:token\ttimestamp:float"

Made = Callable[..., Dataset]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """``made({"inter": lines, "item": lines}, **keys)``: a dataset ``own`` of these files."""

    def make(files: dict[str, Iterable[str] | bytes], name: str = "own", **keys: object) -> Dataset:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for suffix, content in files.items():
            data = content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode()
            (folder / f"{name}.{suffix}").write_bytes(data)
        return Dataset.named(name, tmp_path, tmp_path / "configs", keys)

    return make


@pytest.fixture
def inter() -> list[str]:
    """Four users with three to five of six items, in time order."""
    rows = [HEADER]
    for user, items in {"u1": "abc", "u2": "bcde", "u3": "afced", "u4": "dab"}.items():
        rows += [f"{user}\t{item}\t{time}" for time, item in enumerate(items)]
    return rows
