"""Files that are either whole or absent: write beside the target, then rename."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it becomes ``target``, on error it is removed.

    A kill leaves at most a ``.NAME.*.tmp`` beside the target, never a half-written target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``; on success it takes the target's place, on error it is removed.

    The old target is moved aside, not deleted, before the new one takes its place: a kill in between loses neither.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        old = temporary.with_name(f"{temporary.name}.old")
        if target.exists():
            target.replace(old)
        temporary.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_png(target: Path, figure: Figure, dpi: int) -> None:
    """Write a figure to ``target``, whole or not at all, with a palette: a third of the bytes of true colour."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, facecolor="white")
    with replacing_file(target) as temporary:
        colours = Image.open(drawn).convert("RGB")
        # Of Pillow's methods the one that leaves no colour far from its own, however rare (a thin line, a small mark).
        palette = colours.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        palette.save(temporary, format="png", optimize=True)


def write_json(target: Path, content: Any) -> None:
    """Write ``content`` as indented JSON (UTF-8, no NaN) to ``target``, whole or not at all."""
    with replacing_file(target) as temporary:
        temporary.write_text(
            json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
