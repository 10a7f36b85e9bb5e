"""The manifest of a model version: its files, its input and outputs, its origin and its worth."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.delivery.manifest_fields import check_field
from fl_robot_ros.delivery.model_file import read_file, read_verified, verify_file
from fl_robot_ros.errors import ModelError

MANIFEST_FILE = "manifest.json"
KERAS_FILE = "model.keras"
TFLITE_FILE = "model.tflite"
SCHEMA_VERSION = 2

_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
# Names that manifests of the first schema lack.
_LATER = {
    *("counter", "statement", "signature", "key_id"),
    *("per_class", "accepted", "reason", "snapshot"),
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of a model before it becomes a version; checked at construction.

    Attributes:
        classes: Class names in the order of the model's outputs.
        preprocessing: Size, channels and scale of the input, as `Preprocessing.to_dict` gives it.
        metrics: Finite numbers by name: `holdout_accuracy`, `holdout_accuracy_before` (0 to 1, of
            this model and of the current one on the same images), `holdout_loss`,
            `holdout_images`, `parity` (largest difference between the outputs of the LiteRT and
            the Keras model), `latency_ms` (median of the LiteRT model for one image).
        per_class: By class name `images` held out, and where they are known `recall` and
            `recall_before`, 0 to 1, of this model and of the current one.
        accepted: Whether it passed the robot's gate.
        reason: Why it was refused or accepted, in one line; "" where nobody said.
        run: Number of the run that trained the model, 0 or more.
        round: Number of the round that it comes from, 0 or more.
        server: Address of the run's server.
        robot: Name of the robot that stored the version.
        snapshot: Name of the robot's dataset snapshot in that run, "" for another source.
        counter: Counter of the delivery, which grows from one to the next; 0 without signature.
        statement: What the fleet signed about the model, JSON; "" without signature.
        signature: The Ed25519 signature under the statement in Base64; "" without one.
        key_id: Short name of the fleet's key that signed; "" without signature.
    """

    classes: list[str]
    preprocessing: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    accepted: bool = True
    reason: str = ""
    run: int = 0
    round: int = 0
    server: str = ""
    robot: str = ""
    snapshot: str = ""
    counter: int = 0
    statement: str = ""
    signature: str = ""
    key_id: str = ""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ModelError: A field has the wrong type or an invalid value.
        """
        for item in fields(self):
            check_field(item.name, getattr(self, item.name))


@dataclass(frozen=True, kw_only=True)
class Manifest(Candidate):
    """The content of a manifest: a candidate, and what the store says of it.

    Attributes:
        schema_version: Version of this format, 1 or 2.
        version: Name of the version, the name of its folder.
        created: When it was stored, ISO 8601 in UTC.
        files: SHA-256 in lower-case hexadecimal of every file beside the manifest, by file name.
        previous: Name of the version that was current before, "" for the first version.
    """

    version: str
    created: str
    files: dict[str, str]
    previous: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ModelError: A field has the wrong type or an invalid value.
        """
        _check_schema(self.schema_version)
        super().__post_init__()

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, ready for JSON, what names the version first."""
        first = ("schema_version", "version", "created")
        return {**{name: getattr(self, name) for name in first}, **asdict(self)}

    def write(self, path: Path) -> None:
        """Write the manifest.

        Args:
            path: The version's folder, or the manifest file itself.

        Raises:
            ModelError: The file cannot be written.
        """
        place = _manifest_file(path)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        try:
            with staging_file(place) as file:
                file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ModelError(f"cannot write {place}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read and check a manifest.

        Args:
            path: The version's folder, or the manifest file itself.

        Raises:
            ModelError: The file is missing, unreadable, no JSON, no valid manifest, or was made
                by a newer program.
        """
        place = _manifest_file(path)
        values = _read_json(place)
        names = {item.name for item in fields(cls)}
        try:
            # A newer schema has other names.
            if isinstance(values, dict) and "schema_version" in values:
                _check_schema(values["schema_version"])
            if not isinstance(values, dict) or not names - _LATER <= set(values) <= names:
                found = sorted(values) if isinstance(values, dict) else type(values).__name__
                raise ModelError(
                    f"it is not a manifest: expected the names {', '.join(sorted(names))}; found "
                    f"{str(found)[:300]}"
                )
            return cls(**values)
        except ModelError as error:
            raise ModelError(f"{place}: {error}") from error

    def read_file(self, folder: Path, name: str) -> bytes:
        """Read and verify a file of the version; the returned content is the one that was hashed.

        Args:
            folder: The version's folder.
            name: A name in `files`.

        Raises:
            ModelError: The manifest does not list the file, it is missing, larger than 2 GiB, no
                regular file, or its SHA-256 differs.
        """
        expected = self.files.get(name)
        if expected is None:
            raise ModelError(
                f"the manifest in {folder} does not list '{name}'; it lists "
                f"{', '.join(self.files) or 'nothing'}"
            )
        return read_verified(folder / name, expected)

    def verify(self, folder: Path) -> None:
        """Compare all files of the version with their SHA-256, in constant memory.

        Args:
            folder: The version's folder.

        Raises:
            ModelError: As for `read_file`, or the folder has another name than the version.
        """
        if folder.name != self.version:
            raise ModelError(f"the manifest in {folder} is that of {self.version}")
        for name, expected in self.files.items():
            verify_file(folder / name, expected)


def _check_schema(value: Any) -> None:
    if type(value) is int and value > SCHEMA_VERSION:
        raise ModelError(
            f"made by a newer program: schema_version is {value}, and this fl_robot_ros reads up "
            f"to {SCHEMA_VERSION}; update it"
        )
    check_field("schema_version", value)


def _manifest_file(path: Path) -> Path:
    return path / MANIFEST_FILE if path.is_dir() else path


def _read_json(place: Path) -> Any:
    """Return the content of a JSON file, or raise ModelError."""
    content = read_file(place, _MAX_MANIFEST_BYTES)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place} is not JSON: {str(error)[:200]}") from error
