"""What a full disk says to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_ext.errors import StoreError


@contextmanager
def explaining_write_errors(target: Path, way_out: str) -> Iterator[None]:
    """Turn a failed write into a :class:`StoreError` that names ``target``, the cause and ``way_out``."""
    # Not at the top: commands that write nothing must not pay for it.
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{target} can't be written: {error}. {way_out}") from error
