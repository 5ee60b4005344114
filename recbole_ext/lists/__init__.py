"""Lists in and out: what a finished run recommends, and what any other system recommended, under one protocol."""

from __future__ import annotations

from typing import Literal, TypeAlias

Target: TypeAlias = Literal["test", "valid", "next"]
TARGETS: tuple[Target, ...] = ("test", "valid", "next")
"""What a known user's list is for: the item held out for test, the one for validation, what comes after all."""
FORMATS = ("csv", "parquet")
"""Of the tables of a split."""
