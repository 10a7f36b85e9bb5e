"""Which models a node may take: by place, signature and age."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fl_robot_ros.delivery.manifest import MANIFEST_FILE, Manifest
from fl_robot_ros.delivery.model_signature import verify_signature
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import ModelError
from fl_robot_ros.identity.enrolment import Enrolment


class ModelAccess:
    """Checks a path that came from a topic, which anybody on the network may publish."""

    def __init__(
        self,
        models_dir: Path,
        allowed_dirs: Sequence[Path] = (),
        own_path: Path | None = None,
        enrolment: Enrolment | None = None,
    ) -> None:
        """Take the rules.

        Args:
            models_dir: Folder of the robot's model versions.
            allowed_dirs: Other folders that models may lie in.
            own_path: A path that a setting names: it may lie anywhere and be an old one.
            enrolment: The robot's place in a fleet, whose models alone are taken then.
        """
        self._store = ModelStore(models_dir)
        self._places = [models_dir, *allowed_dirs]
        self._own_path = own_path
        self._enrolment = enrolment

    def check(self, path: str, *, may_be_older: bool = False) -> Path:
        """Return the path of a model that may be taken, without links.

        Args:
            path: A version folder or a file in one, absolute.
            may_be_older: Whether to take what is older than the newest accepted version, too.

        Raises:
            ModelError: There is no such model, it lies elsewhere, was refused or taken back, or is
                older than the newest accepted one without being the current one.
            IdentityError: The fleet did not sign it.
            MissingPackageError: The signature cannot be checked.
        """
        given = Path(path)
        if not given.is_absolute():
            raise ModelError(f"{path!r} is no absolute path")
        try:
            place = given.resolve(strict=True)
            folder = place if place.is_dir() else place.parent
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle.
            raise ModelError(
                f"there is no model at {path!r}; expected a version folder or a file in one"
            ) from error
        is_own = given == self._own_path
        if not is_own and not any(folder.is_relative_to(root.resolve()) for root in self._places):
            raise ModelError(
                f"{folder} lies outside of {' and '.join(map(str, self._places))}; set data_dir "
                "to that of fl_client, or add the folder to allowed_model_dirs"
            )
        manifest = Manifest.load(folder / MANIFEST_FILE)
        if self._enrolment is not None:
            verify_signature(manifest, self._enrolment)
        if not is_own:
            self._check_age(folder, manifest, may_be_older)
        return place

    def _check_age(self, folder: Path, manifest: Manifest, may_be_older: bool) -> None:
        """Check that a version is not one that the robot left behind.

        Raises:
            ModelError: It is.
        """
        current = self._store.current()
        if current is not None and folder == current.resolve():
            return  # A person or a rollback chose it.
        if not manifest.accepted:
            raise ModelError(f"{manifest.version} was refused: {manifest.reason}")
        is_stored = is_stored_in(self._store, folder)
        reason = self._store.withdrawal(folder.name) if is_stored else None
        if reason is not None:
            raise ModelError(f"{manifest.version} was taken back: {reason}")
        newest = self._newest_accepted(manifest.key_id)
        if not may_be_older and newest is not None and manifest.counter < newest.counter:
            raise ModelError(
                f"{manifest.version} is older than {newest.version}, which this robot has: its "
                f"counter is {manifest.counter}, and that of {newest.version} {newest.counter}"
            )

    def _newest_accepted(self, key_id: str) -> Manifest | None:
        """Return the stored version of a key with the highest counter that nobody took back."""
        newest: Manifest | None = None
        for folder in self._store.versions():
            try:
                manifest = Manifest.load(folder)
            except ModelError:
                continue  # It cannot be taken either.
            if not manifest.accepted or manifest.key_id != key_id:
                continue
            if self._store.withdrawal(folder.name) is not None:
                continue
            if newest is None or manifest.counter > newest.counter:
                newest = manifest
        return newest


def is_stored_in(store: ModelStore, folder: Path) -> bool:
    """Say whether a folder, without links, is a version of a store."""
    is_inside = folder.parent == store.models_dir.resolve()
    return is_inside and folder.name in {path.name for path in store.versions()}
