"""What the folder of a robot's model versions says: the versions, the current one, a hold."""

from __future__ import annotations

import re
from pathlib import Path

from fl_robot_ros.delivery.hold import HOLD_FILE, Hold, HoldKind
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_file import read_file
from fl_robot_ros.errors import ModelError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.one_line import one_line

CURRENT = "current"
# In a version's folder: why it was taken back.
WITHDRAWN = "withdrawn.txt"

_MAX_REASON_BYTES = 16 * 1024
_VERSION = re.compile(r"v([0-9]{5,18})")


class ModelVersions:
    """Reads the folder of the model versions, while others may write."""

    def __init__(self, models_dir: Path) -> None:
        """Take the folder, which need not exist."""
        self.models_dir = models_dir

    def versions(self) -> list[Path]:
        """Return the folders of all versions, oldest first."""
        if not self.models_dir.is_dir():
            return []
        found = [path for path in self.models_dir.iterdir() if _VERSION.fullmatch(path.name)]
        return sorted(found, key=version_number)

    def current(self) -> Path | None:
        """Return the absolute folder of the current version, None if there is none."""
        link = self.models_dir / CURRENT
        try:
            target = link.resolve(strict=True)
            is_inside = target.parent == self.models_dir.resolve() and target.is_dir()
        except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13.
            return None
        if not is_inside or not _VERSION.fullmatch(target.name):
            return None
        return self.models_dir.absolute() / target.name

    def hold(self) -> Hold | None:
        """Return why the current version stays; None where a new one may replace it.

        A damaged record counts as a pin: what a person wanted is not undone by a broken file.
        """
        try:
            return Hold.load(self.models_dir)
        except ModelError as error:
            if not (self.models_dir / HOLD_FILE).exists():
                return None
            current = self.current()
            return Hold(HoldKind.PINNED, current.name if current else "", str(error))

    def withdrawal(self, version: str) -> str | None:
        """Return why a version was taken back, None where it was not."""
        file = self.folder(version) / WITHDRAWN
        try:
            return one_line(read_file(file, _MAX_REASON_BYTES).decode("utf-8", "replace"))
        except ModelError:
            return None

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

    def verify(self, version: str) -> Manifest:
        """Check that a version is whole: all files have the SHA-256 of its manifest; return that.

        Raises:
            ModelError: There is no such version, or it is not whole.
        """
        folder = self.folder(version)
        manifest = Manifest.load(folder)
        manifest.verify(folder)
        return manifest

    def folder(self, version: str) -> Path:
        """Return the absolute folder of a version, or raise ModelError."""
        folder = self.models_dir.absolute() / version
        if not _VERSION.fullmatch(version) or not folder.is_dir():
            found = name_list(path.name for path in reversed(self.versions())) or "none"
            raise ModelError(
                f"there is no version {version!r} in {self.models_dir}; it has {found}"
            )
        return folder

    def before(self, current: Path | None) -> Path | None:
        """Return the whole version that a rollback of the current one leads to, if there is one.

        It is the one that was current before and was not taken back, or else the newest accepted
        one that is older. Without a current version, it is the newest accepted one.
        """
        were_current = self.were_current(current)
        older = [path.absolute() for path in reversed(self.versions())]
        if current is not None:
            older = [path for path in older if version_number(path) < version_number(current)]
        for folder in (*were_current, *older):
            try:
                manifest = self.verify(folder.name)
            except ModelError:
                continue
            # A refused version that was current was a person's choice.
            if self.withdrawal(folder.name) is None and (
                manifest.accepted or folder in were_current
            ):
                return folder
        return None

    def were_current(self, newest: Path | None) -> list[Path]:
        """Return the folders of the versions that were current before one, the newest first."""
        found: list[Path] = []
        folder = newest
        while folder is not None:
            try:
                folder = self.folder(Manifest.load(folder).previous)
            except ModelError:  # There is none, it was pruned, or the manifest is damaged.
                break
            if folder in found or folder == newest:
                break
            found.append(folder)
        return found

    def is_wanted(self, folder: Path) -> bool:
        """Say whether a version is neither refused nor taken back."""
        try:
            is_accepted = Manifest.load(folder).accepted
        except ModelError:
            is_accepted = True  # It may be that of a newer program.
        return is_accepted and self.withdrawal(folder.name) is None


def version_number(folder: Path) -> int:
    """Return the number in a version's name."""
    match = _VERSION.fullmatch(folder.name)
    return int(match.group(1)) if match else 0
