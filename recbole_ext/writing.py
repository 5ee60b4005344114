"""Files that are either whole or absent: write beside the target, then rename."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import RecboleExtError, WriteError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NAMES_OF_FILES = "use letters, digits, '_', '-', '+' and '.', and begin with a letter or digit"


def can_name_files(name: str) -> bool:
    """Whether a user's name for something may be part of a file's: it is what :data:`NAMES_OF_FILES` says.

    What begins with ``_`` would be missing from the legends of matplotlib's figures, too.
    """
    return bool(re.fullmatch(r"[^\W_][\w.+-]*", name))


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it becomes ``target``, on error it is removed.

    A kill leaves at most a ``.NAME.*.tmp`` beside the target, never a half-written target. What a symbolic link points
    to is replaced, not the link.

    Raises:
        WriteError: the disk is full, the folder can't be made, …
    """
    target = _pointed_at(target)
    with explaining_failed_writes(target):
        temporary = _beside(target)
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``; on success it takes the target's place, on error it is removed.

    The old target is moved aside, not deleted, before the new one takes its place: a kill in between loses neither.
    What a symbolic link points to is replaced, not the link.

    Raises:
        WriteError: the disk is full, the folder can't be made, …
    """
    target = _pointed_at(target)
    with explaining_failed_writes(target):
        temporary = _beside(target)
        temporary.mkdir()
        old = temporary.with_name(f"{temporary.name}.old")
        try:
            yield temporary
            if target.exists():
                target.replace(old)
            temporary.replace(target)
        finally:
            if old.exists() and not target.exists():
                old.replace(target)
            for leftover in (temporary, old):
                if leftover.is_file():
                    leftover.unlink()
                shutil.rmtree(leftover, ignore_errors=True)


def _pointed_at(target: Path) -> Path:
    """What ``target`` points to, where it is a symbolic link."""
    return target.resolve() if os.path.islink(target) else target  # noqa: PTH114 (a Path's raises in a closed folder)


def _beside(target: Path) -> Path:
    """A name in ``target``'s folder, which is made, that nobody has.

    What is made under it has the modes that the user's umask gives: those who share the folder may see to that.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def explaining_failed_writes(target: Path) -> Iterator[None]:
    """Turn a failed write within the block into a :class:`WriteError` that names ``target``."""
    try:
        yield
    except Exception as error:
        if (reason := _why_not_written(error, target)) is None:
            raise
        raise WriteError(target, reason) from error


def _why_not_written(error: Exception, target: Path) -> str | None:
    """The system's words where ``error`` is a failed write to ``target`` or into its folder; else ``None``."""
    if isinstance(error, WriteError):
        # Of a part of a folder under its temporary name, which nobody has to know.
        return error.reason if error.target.absolute().is_relative_to(target.parent.absolute()) else None
    if isinstance(error, RecboleExtError):
        return None
    if isinstance(error, OSError):
        # Something else may have been read or written in between.
        if isinstance(error.filename, str | bytes) and not _on_the_way(os.fsdecode(error.filename), target.parent):
            return None
        return error.strerror or _broken_off(error)
    # What Rust and C++ make of the same: their names, for neither library may be loaded just to ask.
    if type(error).__name__ == "SafetensorError":
        return str(error)
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in ("inline_container", "iostream error")):
        return _broken_off(error)
    return None


def _on_the_way(name: str, folder: Path) -> bool:
    """Whether the file ``name`` is in ``folder``, or above it."""
    path, folder = Path(name).absolute(), folder.absolute()
    return path.is_relative_to(folder) or folder.is_relative_to(path)


def _broken_off(error: Exception) -> str:
    return f"it broke off, as on a full disk ({error})"


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
