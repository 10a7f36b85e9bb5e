"""Uses memory again for the next image, instead of giving it back to the system each time.

Images come and go by the MB. By default, glibc takes the memory for each from the system, which
has to find and clear its pages, and gives it back at once; that can cost several times as much as
to receive the image. Without effect where the C library is not glibc.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The most that glibc takes: larger blocks come from the system by themselves.
_MMAP_THRESHOLD_BYTES = 4 * 1024 * 1024 * ctypes.sizeof(ctypes.c_long)
# Free memory that is not given back: enough for some large images, little beside a robot's RAM.
_TRIM_THRESHOLD_BYTES = 64 * 1024 * 1024


def reuse_memory() -> None:
    """Have this process keep up to 64 MiB of what it frees, from now on. May be called twice."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)


def return_memory() -> None:
    """Give all free memory of this process back to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
