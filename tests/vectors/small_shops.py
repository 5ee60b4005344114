"""Datasets small enough to be written anew for a test."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, name: str, interactions: list[str], titles: list[str]) -> None:
    """Write ``NAME.inter``, its header first, and ``NAME.item`` with one title a line."""
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}.inter").write_text("\n".join(interactions) + "\n", encoding="utf-8")
    header = "item_id:token\ttitle:token_seq"
    (folder / name / f"{name}.item").write_text("\n".join([header, *titles]) + "\n", encoding="utf-8")
