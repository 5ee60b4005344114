"""The script that called, and processes that are not to begin it again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def unimportable_script() -> Iterator[None]:
    """A process that is started meanwhile does not import the script that called.

    No process of ours needs anything of it. Python would have each import it, and a script without
    ``if __name__ == "__main__":`` would begin again in each, and one from standard input be looked for and not found.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
