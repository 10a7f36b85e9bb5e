"""The robot's model versions on disk, one of them current.

    models/v00001/   model.keras, model.tflite, manifest.json
    models/v00002/
    models/current   symbolic link, replaced atomically
    models/hold.json why the current version stays, while it is pinned or rolled back to

A version gets its name when all its files are written and synced, and loses it before the first of
them is removed: a reader sees whole versions only, also after a power cut. Any process may read;
those that write take a lock for the moment in which they change what is visible.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from fl_robot_ros.atomic_file import staging_file, sync
from fl_robot_ros.delivery.hold import HOLD_FILE, Hold, HoldKind
from fl_robot_ros.delivery.manifest import Candidate, Manifest
from fl_robot_ros.delivery.model_file import hash_file
from fl_robot_ros.delivery.model_versions import CURRENT, WITHDRAWN, ModelVersions, version_number
from fl_robot_ros.errors import ModelError
from fl_robot_ros.process_lock import ProcessLock

_STAGING_PREFIX = ".staging-"
_REMOVED_PREFIX = ".removed-"
_LOCK = ".lock"
_LOCK_TIMEOUT_SEC = 30.0


@dataclass(frozen=True)
class StoredModel:
    """What became of a new version.

    Attributes:
        folder: Its absolute folder.
        is_current: Whether it is the current version now.
        note: One line for people: why it is not, or that it ended a hold; else "".
    """

    folder: Path
    is_current: bool
    note: str = ""


class ModelStore(ModelVersions):
    """Writes the folder of the model versions; several processes may do so."""

    def __init__(self, models_dir: Path, keep_versions: int | None = None) -> None:
        """Open the store; the first version creates its folder.

        Args:
            models_dir: Folder of the versions.
            keep_versions: Number of versions that `add` keeps, 2 or more; the current version,
                the one that a rollback leads to and the newest always stay. None: all.
        """
        super().__init__(models_dir)
        self.keep_versions = keep_versions

    def add(self, build: Callable[[Path], Candidate]) -> StoredModel:
        """Store a new version, and make it current if it is accepted and nothing holds another.

        Args:
            build: Writes the model's files into a given empty folder, and returns what is known of
                the model. It may take long; others may change the store meanwhile.

        Raises:
            ModelError: The version cannot be stored; the store is unchanged.
        """
        try:
            self.models_dir.mkdir(parents=True, exist_ok=True)
            with self._locked():
                staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.models_dir))
                in_use = ProcessLock(staging, is_folder=True)
                in_use.acquire()  # `repair` leaves it meanwhile.
            try:
                candidate = build(staging)
                files = {path.name: hash_file(path) for path in sorted(staging.iterdir())}
                for name in files:
                    sync(staging / name)
                with self._locked():
                    return self._take(staging, candidate, files)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                in_use.close()
        except OSError as error:
            raise ModelError(f"cannot store the model in {self.models_dir}: {error}") from error

    def use(self, version: str) -> Path:
        """Make a version current, whatever became of it before, and end every hold.

        Returns:
            Its absolute folder.

        Raises:
            ModelError: There is no such version, it is not whole, or the store cannot be changed.
        """
        with self._locked():
            return self._use(version, None)

    def pin(self, version: str, reason: str = "") -> Path:
        """Make a version current, and keep it so until `unpin` or `use`.

        Args:
            version: Its name.
            reason: Why, in one line.

        Returns:
            Its absolute folder.

        Raises:
            ModelError: As for `use`.
        """
        with self._locked():
            return self._use(version, Hold(HoldKind.PINNED, version, reason))

    def unpin(self) -> Hold | None:
        """Let the next accepted version become current; return the hold that this ends.

        Raises:
            ModelError: The store cannot be changed.
        """
        with self._locked():
            hold = self.hold()
            self._set_hold(None)
            return hold

    def rollback(self, reason: str = "") -> Path:
        """Take the current version back: the one before it becomes current again.

        Args:
            reason: Why, in one line.

        Returns:
            The absolute folder of the version that is current now.

        Raises:
            ModelError: There is no earlier version that is whole, the current one is pinned, or
                the store cannot be changed.
        """
        with self._locked():
            current = self.current()
            if current is None:
                raise ModelError(f"there is no current model in {self.models_dir}")
            return self._withdraw(current, reason)

    def withdraw(self, version: str, reason: str) -> Path | None:
        """Take a version back, so that it never becomes current again by itself.

        Where it is the current one, the one before it becomes current again, and stays until there
        is a better one.

        Args:
            version: Its name.
            reason: Why, in one line.

        Returns:
            The absolute folder of the current version, None if there is none.

        Raises:
            ModelError: As for `rollback`.
        """
        with self._locked():
            folder = self.folder(version)
            if folder == self.current():
                return self._withdraw(folder, reason)
            self._mark_withdrawn(folder, reason)
            return self.current()

    def repair(self) -> list[str]:
        """Finish what an interrupted process left; return a line for each change.

        Raises:
            ModelError: The store cannot be changed.
        """
        done: list[str] = []
        if not self.models_dir.is_dir():
            return done
        with self._locked():
            for path in self.models_dir.glob(f"{_STAGING_PREFIX}*"):
                if path.is_dir() and _is_abandoned(path):
                    shutil.rmtree(path, ignore_errors=True)
                    done.append(f"removed the unfinished model {path.name}")
            for path in self.models_dir.glob(f"{_REMOVED_PREFIX}*"):
                shutil.rmtree(path, ignore_errors=True)
                done.append(f"removed the rest of {path.name.removeprefix(_REMOVED_PREFIX)}")
            for pattern in (f".{CURRENT}.tmp", f"{_STAGING_PREFIX}*", f"v*/{_STAGING_PREFIX}*"):
                for path in self.models_dir.glob(pattern):
                    if path.is_symlink() or path.is_file():
                        path.unlink(missing_ok=True)
            problem = self._problem_of_current()
            if problem:
                folder = self._pinned() or self.before(self.current())
                if folder is not None:
                    self._point_to(folder)
                    done.append(f"made {folder.name} current, since {problem}")
        return done

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes and threads from changing the store meanwhile.

        Raises:
            ModelError: There is no store, another one changes it for too long, or a file cannot be
                written.
        """
        if not self.models_dir.is_dir():
            raise ModelError(f"there is no current model, nor any other: no {self.models_dir}")
        try:
            lock = ProcessLock(self.models_dir / _LOCK)
            try:
                if not lock.acquire(_LOCK_TIMEOUT_SEC):
                    raise ModelError(
                        f"another process has been changing {self.models_dir} for "
                        f"{_LOCK_TIMEOUT_SEC:g} s; try again"
                    )
                yield
            finally:
                lock.close()
        except OSError as error:
            raise ModelError(f"cannot change {self.models_dir}: {error}") from error

    def _take(self, staging: Path, candidate: Candidate, files: dict[str, str]) -> StoredModel:
        """Give a staged version its name, make it current where it may be, and prune."""
        current = self.current()
        version = f"v{max(map(version_number, self.versions()), default=0) + 1:05d}"
        manifest = Manifest(
            version=version,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            files=files,
            previous=current.name if current else "",
            **asdict(candidate),
        )
        manifest.write(staging)
        staging.chmod(0o755)
        sync(staging)
        folder = self.models_dir.absolute() / version
        staging.rename(folder)
        sync(self.models_dir)
        obstacle, ends_hold = self._obstacle(manifest, current)
        note = ""
        if obstacle:
            note = f"{version} is stored and not used: {obstacle}"
        else:
            self._point_to(folder)
            if ends_hold:
                note = f"{version} is current, which ends the hold: {self.hold()}"
                self._set_hold(None)
        self._prune()
        return StoredModel(folder, not obstacle, note)

    def _obstacle(self, manifest: Manifest, current: Path | None) -> tuple[str, bool]:
        """Return why a new version does not become current, or "" and whether it ends a hold."""
        stays = f"; {current.name} stays" if current else ""
        if not manifest.accepted:
            return f"{manifest.reason or 'refused'}{stays}", False
        hold = self.hold()
        if current is None or hold is None:
            return "", hold is not None
        if hold.kind == HoldKind.PINNED:
            return f"{hold}{stays}", False
        after, before = (
            manifest.metrics.get(name) for name in ("holdout_accuracy", "holdout_accuracy_before")
        )
        if after is None or before is None:
            return f"{hold}; it is unknown whether {manifest.version} is better{stays}", False
        if after <= before:
            return f"{hold}; {after:.3f} is not better than {before:.3f}{stays}", False
        return "", True

    def _use(self, version: str, hold: Hold | None) -> Path:
        folder = self.folder(version)
        self.verify(version)
        (folder / WITHDRAWN).unlink(missing_ok=True)
        self._point_to(folder)
        self._set_hold(hold)
        return folder

    def _withdraw(self, current: Path, reason: str) -> Path:
        """Take the current version back; return the folder of the one that is current now."""
        hold = self.hold()
        if hold is not None and hold.kind == HoldKind.PINNED:
            raise ModelError(f"{hold}; 'fl_model unpin' or 'fl_model use VERSION' comes first")
        before = self.before(current)
        if before is None:
            raise ModelError(f"there is no version before {current.name}")
        # In this order, `repair` can finish it.
        self._mark_withdrawn(current, reason)
        self._set_hold(Hold(HoldKind.ROLLED_BACK, current.name, reason))
        self._point_to(before)
        return before

    def _mark_withdrawn(self, folder: Path, reason: str) -> None:
        with staging_file(folder / WITHDRAWN) as file:
            file.write_text(f"{reason}\n", encoding="utf-8")

    def _problem_of_current(self) -> str:
        """Return why another version should be current, "" if none should."""
        current = self.current()
        if current is None:
            return "no version was"
        if self.withdrawal(current.name) is not None:
            return f"{current.name} was taken back"
        try:
            self.verify(current.name)
        except ModelError as error:
            return str(error)
        return ""

    def _pinned(self) -> Path | None:
        """Return the folder of the pinned version, None where there is none that is whole."""
        hold = self.hold()
        if hold is None or hold.kind != HoldKind.PINNED:
            return None
        try:
            self.verify(hold.version)
            return self.folder(hold.version)
        except ModelError:
            return None

    def _set_hold(self, hold: Hold | None) -> None:
        if hold is not None:
            hold.write(self.models_dir)
        elif (self.models_dir / HOLD_FILE).exists():
            (self.models_dir / HOLD_FILE).unlink()
            sync(self.models_dir)

    def _point_to(self, folder: Path) -> None:
        """Replace the link `current` atomically."""
        beside = self.models_dir / f".{CURRENT}.tmp"
        beside.unlink(missing_ok=True)
        beside.symlink_to(folder.name)
        beside.replace(self.models_dir / CURRENT)
        sync(self.models_dir)

    def _prune(self) -> None:
        """Remove versions beyond the number to keep: refused ones first, then the oldest."""
        versions = self.versions()
        if self.keep_versions is None or len(versions) <= self.keep_versions:
            return
        current = self.current()
        before = self.before(current)
        needed = {path.name for path in (current, before, versions[-1]) if path is not None}
        were_current = self.were_current(current)
        if before in were_current:
            # Those between were taken back; their manifests lead to it.
            needed |= {path.name for path in were_current[: were_current.index(before)]}
        spare = [folder for folder in versions if folder.name not in needed]
        spare.sort(key=self.is_wanted)
        for folder in spare[: len(versions) - self.keep_versions]:
            removed = self.models_dir / f"{_REMOVED_PREFIX}{folder.name}"
            folder.rename(removed)
            sync(self.models_dir)
            shutil.rmtree(removed, ignore_errors=True)


def _is_abandoned(staging: Path) -> bool:
    """Say whether no `add` uses a staging folder any more."""
    try:
        lock = ProcessLock(staging, is_folder=True)
    except FileNotFoundError:  # Its `add` has just failed.
        return False
    try:
        return lock.acquire()
    finally:
        lock.close()
