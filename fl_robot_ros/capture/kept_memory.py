"""Keeps freed memory for the next picture, instead of giving it back to the system each time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt(3), and their values: the largest that it takes, and its default.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MAX_MMAP_THRESHOLD_BYTES = 4 * 1024 * 1024 * ctypes.sizeof(ctypes.c_long)
_DEFAULT_TRIM_THRESHOLD_BYTES = 128 * 1024
_NEVER = 2**31 - 1


@contextmanager
def kept_memory() -> Iterator[None]:
    """Have this process keep all memory that it ever needed within the block, until its end.

    For every copy of a raw picture, the system would have to find and clear a MB anew, which takes
    longer than to fill it. Has no effect where the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    is_glibc = hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")
    if is_glibc:
        libc.mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        if is_glibc:
            libc.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD_BYTES)
            libc.malloc_trim(0)
