"""Ray 2.6.3, the last that RecBole 1.2.1 allows, beside today's pyarrow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def job_without_pyarrow() -> Any:
    """The ``job_config`` for ``ray.init`` where pyarrow is installed and can't be imported; else ``None``.

    Ray 2.6.3 serializes without pyarrow where there is none, but dies of an ``ImportError`` of one that needs
    numpy 2, as pyarrow 26 does. Driver and workers get a stand-in that says there is none.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        return None
    except ImportError:
        from ray.job_config import JobConfig

        folder = Path(__file__).parent.parent / "run" / "without_pyarrow"
        sys.modules["pyarrow"] = None  # type: ignore[assignment]
        return JobConfig(_py_driver_sys_path=[str(folder)])
    return None
