"""A model version for other programs, which poll a folder and load what they see there.

What they look for is a folder with the name of a version: it is written under a hidden name, and
renamed when it is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from fl_robot_ros.atomic_file import sync
from fl_robot_ros.delivery.manifest import MANIFEST_FILE, Manifest
from fl_robot_ros.errors import ModelError


def version_number(manifest: Manifest) -> str:
    """Return the number of a version without leading zeros, as other programs want it."""
    return str(int(manifest.version.lstrip("v")))


def publish(target: Path, name: str, write: Callable[[Path], None]) -> Path:
    """Write a folder that appears whole or not at all; return it.

    Args:
        target: The folder around it, made where it is missing.
        name: Its name.
        write: Writes into a given empty folder.

    Raises:
        ModelError: There is a folder of that name already, or a file cannot be written.
    """
    place = target / name
    staging = target / f".staging-{name}"
    try:
        if place.exists():
            raise ModelError(f"there is {place} already; remove it, or name another folder")
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)  # Another export was interrupted.
        staging.mkdir()
        try:
            write(staging)
            for path in (*staging.rglob("*"), staging):
                sync(path)
            staging.rename(place)
            sync(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"cannot export to {place}: {error}") from error
    return place


def publish_version(folder: Path, manifest: Manifest, target: Path) -> Path:
    """Copy a version folder into another folder; return its place there.

    Args:
        folder: The version's folder.
        manifest: Its manifest.
        target: The folder around the copy.

    Raises:
        ModelError: As for `publish`.
    """

    def write(staging: Path) -> None:
        for name in (*manifest.files, MANIFEST_FILE):
            shutil.copyfile(folder / name, staging / name)

    return publish(target, manifest.version, write)
