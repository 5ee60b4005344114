"""RecBole's ``Config``: kept from foreign command lines, and as plain values."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_ext.installation import require_installation


def recbole_folder() -> Path:
    """RecBole's installed package.

    Raises:
        InstallationError: it is missing or of another version.
    """
    require_installation()
    import recbole

    return Path(recbole.__file__).parent


def plain_config(config: Any) -> dict[str, Any]:
    """RecBole's final configuration as JSON-like values: what is not a plain value becomes its string."""

    def plain(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple | set):
            return [plain(part) for part in value]
        if isinstance(value, dict):
            return {str(key): plain(part) for key, part in value.items()}
        return getattr(value, "name", None) or str(value)

    return {key: plain(value) for key, value in sorted(config.final_config_dict.items())}


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by their ids in ``CUDA_VISIBLE_DEVICES``."""
    import torch

    if not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [part.strip() for part in visible.split(",") if part.strip()]


def leaving_all_gpus() -> dict[str, Any]:
    """The ``gpu_id`` of a ``Config`` that takes no GPU away from this process.

    RecBole's ``Config`` sets ``CUDA_VISIBLE_DEVICES`` in whatever process makes one, by default to the first GPU; the
    others would be gone for all that comes after, though it was made only to be looked at.
    """
    gpus = visible_gpus()
    return {"gpu_id": ",".join(gpus)} if gpus else {}


@contextmanager
def without_command_line() -> Iterator[None]:
    """Hide ``sys.argv`` from RecBole, whose ``Config`` reads any ``--key=value`` of the process it runs in."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments
