"""Files of a model version: read only where they are regular files of a sane size."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fl_robot_ros.errors import ModelError

# No LiteRT model is larger: the offsets in a FlatBuffers file have 31 bits.
MAX_MODEL_BYTES = 2 * 1024**3

_CHUNK_BYTES = 1 << 20


def hash_file(path: Path, max_bytes: int = MAX_MODEL_BYTES) -> str:
    """Return the SHA-256 of a file in lower-case hexadecimal, in constant memory.

    Args:
        path: The file.
        max_bytes: Its largest size.

    Raises:
        ModelError: The file cannot be read, is too large or no regular file.
    """
    with _opened(path, max_bytes) as stream:
        return _digest(stream)


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
        ModelError: As for `hash_file`.
    """
    with _opened(path, max_bytes) as stream:
        return stream.read(max_bytes)


def read_verified(path: Path, sha256: str, max_bytes: int = MAX_MODEL_BYTES) -> bytes:
    """Return the content of a file whose SHA-256 is known.

    The file is hashed in constant memory before it is read; what is returned has that hash too.

    Raises:
        ModelError: The SHA-256 differs, or as for `hash_file`.
    """
    with _opened(path, max_bytes) as stream:
        _compare(path, _digest(stream), sha256)
        stream.seek(0)
        content = stream.read(max_bytes)
    _compare(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def verify_file(path: Path, sha256: str, max_bytes: int = MAX_MODEL_BYTES) -> None:
    """Compare the SHA-256 of a file, in constant memory.

    Raises:
        ModelError: It differs, or as for `hash_file`.
    """
    _compare(path, hash_file(path, max_bytes), sha256)


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most that size, or raise ModelError."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ModelError(f"{path} is no regular file")
            if found.st_size > max_bytes:
                raise ModelError(
                    f"{path} has {found.st_size:,} bytes; at most {max_bytes:,} are read"
                )
            yield stream
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; without O_NONBLOCK a FIFO would hold the caller until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _compare(path: Path, actual: str, expected: str) -> None:
    if actual != expected:
        raise ModelError(
            f"{path} is damaged or was exchanged: its SHA-256 is {actual[:12]}…, the manifest "
            f"says {expected[:12]}…"
        )
