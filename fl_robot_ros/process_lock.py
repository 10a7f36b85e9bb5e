"""A lock between processes, which the system releases when its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SEC = 0.002


class ProcessLock:
    """Owns an open lock file. A shared lock holds from the start until `close`."""

    def __init__(self, path: Path, *, is_shared: bool = False, is_folder: bool = False) -> None:
        """Open the lock file, or create it.

        Args:
            path: The lock file; its folder must exist.
            is_shared: Whether to hold the lock together with others while nothing else is asked,
                so that none of them gets it exclusively.
            is_folder: Whether the path is a folder, which serves as the lock file.

        Raises:
            OSError: The file cannot be opened or locked.
        """
        self._idle = fcntl.LOCK_SH if is_shared else fcntl.LOCK_UN
        flags = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR | os.O_CREAT
        self._descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(self._descriptor, self._idle)
        except BaseException:
            self.close()
            raise

    def acquire(self, timeout_sec: float = 0.0) -> bool:
        """Take the lock exclusively; return whether others left it within the timeout, in s.

        Raises:
            OSError: The file system cannot lock.
        """
        deadline = time.monotonic() + timeout_sec
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                # A failed change of a lock loses the one that was held.
                fcntl.flock(self._descriptor, self._idle)
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SEC)

    @contextmanager
    def exclusive(self, timeout_sec: float = 0.0) -> Iterator[bool]:
        """Hold the lock exclusively meanwhile; yield False where `acquire` fails.

        Raises:
            OSError: The file system cannot lock.
        """
        is_exclusive = self.acquire(timeout_sec)
        try:
            yield is_exclusive
        finally:
            if is_exclusive:
                fcntl.flock(self._descriptor, self._idle)

    def close(self) -> None:
        """Release the lock and close its file. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
