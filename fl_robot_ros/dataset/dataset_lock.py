"""Locks between the processes that have a dataset open."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = ".lock"
WRITE_LOCK_NAME = ".write_lock"

# How long another process may write before that is an error, and how often to look.
_WRITE_TIMEOUT_SEC = 30.0
_WRITE_POLL_SEC = 0.002


class FolderLock:
    """Says whether this is the only one that has a dataset open."""

    def __init__(self, folder: Path) -> None:
        """Take a share of the lock; it is given back at the process's end at the latest.

        Raises:
            OSError: The lock file cannot be opened or locked.
        """
        self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        except BaseException:
            os.close(self._descriptor)
            raise

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep others out meanwhile; yields False where others are in already.

        Raises:
            OSError: The file system cannot lock.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A failed change of a lock loses the one that was held, so take it again.
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Give the lock back. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class WriteLock:
    """Keeps other processes from changing a dataset while one does."""

    def __init__(self, folder: Path) -> None:
        """Open the lock file.

        Raises:
            OSError: It cannot be opened.
        """
        self._descriptor = os.open(folder / WRITE_LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock meanwhile; the system takes it from a process that ends.

        Raises:
            OSError: Another process has held it for 30 s, or the file system cannot lock.
        """
        deadline = time.monotonic() + _WRITE_TIMEOUT_SEC
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"another process has been writing for {_WRITE_TIMEOUT_SEC:g} s"
                    ) from None
                time.sleep(_WRITE_POLL_SEC)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
