"""Keeps the memory of one image for the next, instead of returning it to the system each time.

Images take megabytes. By default, glibc gets the memory for each from the system, which has to
find and clear its pages, and returns it at once; that can cost several times as much as receiving
the image. Without effect where the C library is not glibc.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest value that glibc accepts: larger blocks come from the system one by one.
_MMAP_THRESHOLD_BYTES = 4 * 1024 * 1024 * ctypes.sizeof(ctypes.c_long)
# Free memory to keep: enough for some large images, little beside a robot's RAM.
_TRIM_THRESHOLD_BYTES = 64 * 1024 * 1024


def reuse_memory() -> None:
    """Let this process keep up to 64 MiB of freed memory from now on. May be called twice."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)


def return_memory() -> None:
    """Return all free memory of this process to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
