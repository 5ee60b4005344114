"""How this process gets its memory from the system, and how it tells that there is no more."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from recbole_ext.errors import RecboleExtError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h

OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",  # the same, on macOS and Windows
    "CUDA error: out of memory",  # where the driver, not torch's own allocator, has none
    "MPS backend out of memory",
)
"""How torch begins or ends the ``RuntimeError`` of an allocation that failed, where it has no type of its own."""


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is a failed allocation, on whatever device, and not one that only mentions memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


@contextmanager
def out_of_memory_as(kind: type[RecboleExtError], said: str) -> Iterator[None]:
    """Raise an error of this kind, which says what to lower, where the block fails for want of memory."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise kind(f"out of memory {said}") from error
