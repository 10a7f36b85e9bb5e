"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging_file(path: Path) -> Iterator[Path]:
    """Yield a path beside a file; what is written there replaces the file, synced, at the end.

    Readers see the old file or the whole new one, also after a power cut; an error leaves the old
    one. Only one process may write a file at a time.

    Raises:
        OSError: The file cannot be written.
    """
    staging = path.with_name(f".staging-{path.name}")
    try:
        yield staging
        sync(staging)
        staging.replace(path)
        sync(path.parent)
    finally:
        staging.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk.

    Raises:
        OSError: The disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
