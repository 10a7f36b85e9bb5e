"""The robot's model versions on disk, one of them current.

    models/v00001/   model.keras, model.tflite, manifest.json
    models/v00002/
    models/current   symbolic link, replaced atomically

A version gets its name when all its files are written and synced, so that a reader sees whole
versions only, also after a power cut.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fl_robot_ros.atomic_file import sync
from fl_robot_ros.delivery.manifest import Manifest, hash_file
from fl_robot_ros.errors import ModelError

CURRENT = "current"
_STAGING_PREFIX = ".staging-"
_VERSION = re.compile(r"v(\d{5,})")


class ModelStore:
    """Owns the folder of the model versions. One process writes at a time; any may read."""

    def __init__(self, models_dir: Path, keep_versions: int) -> None:
        """Open the store; the first version creates its folder.

        Args:
            models_dir: Folder of the versions.
            keep_versions: Number of versions kept, 2 or more; the current version and the one
                before it always stay.
        """
        self.models_dir = models_dir
        self.keep_versions = keep_versions

    def versions(self) -> list[Path]:
        """Return the folders of all versions, oldest first."""
        if not self.models_dir.is_dir():
            return []
        found = [path for path in self.models_dir.iterdir() if _VERSION.fullmatch(path.name)]
        return sorted(found, key=_number)

    def current(self) -> Path | None:
        """Return the absolute folder of the current version, None if there is none."""
        try:
            name = str((self.models_dir / CURRENT).readlink())
        except OSError:
            return None
        folder = self.models_dir.absolute() / name
        return folder if _VERSION.fullmatch(name) and folder.is_dir() else None

    def newest_counter(self, key_id: str) -> int:
        """Return the highest counter of the stored models that a fleet's key signed, 0 for none.

        Args:
            key_id: Short name of the key.
        """
        newest = 0
        for folder in self.versions():
            try:
                manifest = Manifest.load(folder)
            except ModelError:
                continue  # damaged; the predictor says so where it matters
            if manifest.key_id == key_id:
                newest = max(newest, manifest.counter)
        return newest

    def add(
        self,
        export: Callable[[Path], None],
        *,
        classes: list[str],
        preprocessing: Mapping[str, Any],
        metrics: Mapping[str, float],
        **provenance: Any,
    ) -> Path:
        """Store a new version and make it current.

        Args:
            export: Writes the model's files into a given empty folder.
            classes: Class names in the order of the outputs.
            preprocessing: The model's input, as `Preprocessing.to_dict` gives it.
            metrics: Finite numbers by name.
            provenance: `run`, `round`, `server`, `robot` and the signature, as in `Manifest`.

        Returns:
            The absolute folder of the new version.

        Raises:
            ModelError: The files cannot be written; the store is unchanged.
        """
        previous = self.current()
        try:
            self.models_dir.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.models_dir))
            try:
                export(staging)
                version = f"v{max(map(_number, self.versions()), default=0) + 1:05d}"
                manifest = Manifest(
                    version=version,
                    created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    files={path.name: hash_file(path) for path in sorted(staging.iterdir())},
                    classes=classes,
                    preprocessing=dict(preprocessing),
                    metrics=dict(metrics),
                    previous=previous.name if previous else "",
                    **provenance,
                )
                manifest.write(staging)
                for path in staging.iterdir():
                    sync(path)
                staging.chmod(0o755)
                sync(staging)
                folder = self.models_dir.absolute() / version
                staging.rename(folder)
                sync(self.models_dir)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            self._point_to(folder)
        except OSError as error:
            raise ModelError(f"cannot store the model in {self.models_dir}: {error}") from error
        self._prune()
        return folder

    def rollback(self) -> Path:
        """Make the version before the current one current again; return its folder.

        Raises:
            ModelError: There is no earlier version, or the link cannot be replaced.
        """
        current = self.current()
        if current is None:
            raise ModelError(f"there is no current model in {self.models_dir}")
        name = Manifest.load(current).previous
        folder = self.models_dir.absolute() / name
        if not name or not folder.is_dir():
            raise ModelError(f"there is no version before {current.name}")
        try:
            self._point_to(folder)
        except OSError as error:
            raise ModelError(f"cannot make {name} current: {error}") from error
        return folder

    def repair(self) -> list[str]:
        """Clean up after an interrupted `add`; return a line for each change.

        No other process may add a version meanwhile.
        """
        done: list[str] = []
        if not self.models_dir.is_dir():
            return done
        for path in self.models_dir.glob(f"{_STAGING_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)
            done.append(f"removed the unfinished model {path.name}")
        (self.models_dir / f".{CURRENT}.tmp").unlink(missing_ok=True)
        if self.current() is None and self.versions():
            newest = self.versions()[-1]
            self._point_to(newest)
            done.append(f"made {newest.name} current, since no version was")
        return done

    def _point_to(self, folder: Path) -> None:
        """Replace the link `current` atomically."""
        beside = self.models_dir / f".{CURRENT}.tmp"
        beside.unlink(missing_ok=True)
        beside.symlink_to(folder.name)
        beside.replace(self.models_dir / CURRENT)
        sync(self.models_dir)

    def _prune(self) -> None:
        """Remove the oldest versions beyond the number to keep."""
        current = self.current()
        needed = {current} if current else set()
        if current is not None:
            needed.add(current.parent / Manifest.load(current).previous)
        versions = self.versions()
        for folder in versions[: max(0, len(versions) - self.keep_versions)]:
            if folder.absolute() not in needed:
                shutil.rmtree(folder, ignore_errors=True)


def _number(folder: Path) -> int:
    """Return the number in a version's name."""
    match = _VERSION.fullmatch(folder.name)
    return int(match.group(1)) if match else 0
