"""How this process gets its memory from the system."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Keep large freed blocks for the next allocation instead of handing each back to the system.

    A training step on a CPU allocates and frees the same hundreds of megabytes every time, and by default glibc maps
    them anew: filling in those pages took a fifth of a tuning step. Elsewhere than under glibc this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_TOP_PAD, 2**26)
