"""The note that LiteRT writes to the error stream."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STDERR = 2
# Written for the first model of a process; no log level and no variable disables it.
_NOTE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."

# Guards the error stream and `_is_over`.
_lock = threading.Lock()
_is_over = False


@contextmanager
def without_note() -> Iterator[None]:
    """Drop the note about LiteRT's CPU kernels, and delay all other output of any thread.

    Acts on the first call in a process only, since the note comes with the first model.
    """
    global _is_over
    with _lock:
        if _is_over:
            yield
            return
        _is_over = True
        try:
            stream = os.dup(_STDERR)
        except OSError:
            yield  # There is no error stream.
            return
        memory = os.memfd_create("stderr")
        os.dup2(memory, _STDERR)
        try:
            yield
        finally:
            os.dup2(stream, _STDERR)
            os.close(stream)
            with open(memory, "rb", buffering=0) as written:
                written.seek(0)
                lines = written.read().splitlines(keepends=True)
            with suppress(OSError):  # Nobody reads it any more.
                os.write(_STDERR, b"".join(line for line in lines if line.strip() != _NOTE))
