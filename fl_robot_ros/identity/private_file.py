"""Files that their owner alone can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fl_robot_ros.atomic_file import staging_file, sync
from fl_robot_ros.errors import IdentityError

_OWNER_ONLY = 0o600


def replace_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600; readers see the old content or the whole new one.

    Raises:
        IdentityError: The file cannot be written.
    """
    try:
        with staging_file(path) as file:
            file.unlink(missing_ok=True)
            _write_new(file, content)
    except OSError as error:
        raise IdentityError(f"cannot write {path}: {error.strerror}") from error


def create_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that does not exist yet; an error leaves none.

    Raises:
        IdentityError: There is such a file, or it cannot be written.
    """
    try:
        _write_new(path, content)
        sync(path.parent)
    except FileExistsError as error:
        raise IdentityError(f"{path} exists already; remove it, or name another file") from error
    except OSError as error:
        raise IdentityError(f"cannot write {path}: {error.strerror}") from error


def describe_readers(path: Path) -> str:
    """Return a warning where others than the owner can read a private file; "" elsewhere."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ""
    return (
        f"{path} holds a private key and can be read by other users (mode "
        f"{stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
    )


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
