"""The manifest of a model version: its files, its input and outputs, and its origin."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.errors import FlRobotError, ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.labels.label_text import clean_label

MANIFEST_FILE = "manifest.json"
KERAS_FILE = "model.keras"
TFLITE_FILE = "model.tflite"
SCHEMA_VERSION = 1

_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_TEXT = 1024
# Names that the manifests of earlier programs lack.
_LATER = {"counter", "statement", "signature", "key_id"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest; checked at construction, so that a Manifest is always valid.

    Attributes:
        version: Name of the version, the name of its folder.
        created: When it was made, ISO 8601 in UTC.
        files: SHA-256 in lower-case hexadecimal of every file beside the manifest, by file name.
        classes: Class names in the order of the model's outputs.
        preprocessing: Size, channels and scale of the input, as `Preprocessing.to_dict` gives it.
        metrics: Finite numbers by name, for example the accuracy on the robot's holdout data.
        run: Number of the run that trained the model, 0 or more.
        round: Number of the run's last round, 0 or more.
        server: Address of the run's server.
        robot: Name of the robot that stored the version.
        previous: Name of the version that was current before, "" for the first version.
        counter: Counter of the delivery, which grows from one to the next; 0 without signature.
        statement: What the fleet signed about the model, JSON; "" without signature.
        signature: The Ed25519 signature under the statement in Base64; "" without one.
        key_id: Short name of the fleet's key that signed; "" without signature.
        schema_version: Version of this format.
    """

    version: str
    created: str
    files: dict[str, str]
    classes: list[str]
    preprocessing: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    run: int = 0
    round: int = 0
    server: str = ""
    robot: str = ""
    previous: str = ""
    counter: int = 0
    statement: str = ""
    signature: str = ""
    key_id: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ModelError: A field has the wrong type or an invalid value.
        """
        if type(self.schema_version) is not int or self.schema_version != SCHEMA_VERSION:
            raise ModelError(
                f"manifest: schema_version is {self.schema_version!r}; this program reads "
                f"{SCHEMA_VERSION}, a newer one needs a newer fl_robot_ros"
            )
        for item in fields(self):
            _CHECKS[item.name](item.name, getattr(self, item.name))

    def write(self, path: Path) -> None:
        """Write the manifest.

        Args:
            path: The version's folder, or the manifest file itself.

        Raises:
            ModelError: The file cannot be written.
        """
        place = _manifest_file(path)
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
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
            ModelError: The file is missing, unreadable, no JSON or no valid manifest.
        """
        place = _manifest_file(path)
        values = _read_json(place)
        names = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or not names - _LATER <= set(values) <= names:
            found = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise ModelError(
                f"{place} is not a manifest: expected the names "
                f"{', '.join(sorted(names))}; found {str(found)[:300]}"
            )
        try:
            return cls(**values)
        except ModelError as error:
            raise ModelError(f"{place}: {error}") from error

    def read_file(self, folder: Path, name: str) -> bytes:
        """Read and verify a file of the version; the returned content is the one that was hashed.

        Args:
            folder: The version's folder.
            name: A name in `files`.

        Raises:
            ModelError: The manifest does not list the file, it is missing, or its SHA-256 differs.
        """
        expected = self.files.get(name)
        if expected is None:
            raise ModelError(
                f"the manifest in {folder} does not list '{name}'; it lists "
                f"{', '.join(self.files) or 'nothing'}"
            )
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read {folder / name}: {error.strerror}") from error
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise ModelError(
                f"{folder / name} is damaged or was exchanged: its SHA-256 is {actual[:12]}…, "
                f"the manifest says {expected[:12]}…"
            )
        return content


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hexadecimal.

    Raises:
        ModelError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                digest.update(chunk)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def _manifest_file(path: Path) -> Path:
    return path / MANIFEST_FILE if path.is_dir() else path


def _read_json(place: Path) -> Any:
    """Return the content of a JSON file, or raise ModelError."""
    try:
        with place.open("rb") as stream:
            content = stream.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read {place}: {error.strerror}") from error
    if len(content) > _MAX_MANIFEST_BYTES:
        raise ModelError(f"{place} has more than {_MAX_MANIFEST_BYTES} bytes; no manifest does")
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place} is not JSON: {str(error)[:200]}") from error


def _refuse(name: str, value: Any, expected: str) -> None:
    raise ModelError(f"manifest: {name} is {str(value)[:200]!r}; expected {expected}")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        _refuse(name, value, f"printable text of at most {_MAX_TEXT} characters")


def _check_statement(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.isprintable():
        _refuse(name, value, "printable text")


def _check_version(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _FILE_NAME.fullmatch(value):
        _refuse(name, value, "a plain folder name")


def _check_previous(name: str, value: Any) -> None:
    if value != "":
        _check_version(name, value)


def _check_number(name: str, value: Any) -> None:
    if type(value) is not int or value < 0:
        _refuse(name, value, "a whole number of 0 or more")


def _check_files(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        _refuse(name, value, "SHA-256 by file name")
    for file_name, digest in value.items():
        if not isinstance(file_name, str) or not _FILE_NAME.fullmatch(file_name):
            _refuse(name, file_name, "plain file names")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            _refuse(f"{name}['{file_name}']", digest, "64 lower-case hexadecimal digits")


def _check_classes(name: str, value: Any) -> None:
    if not isinstance(value, list) or not value:
        _refuse(name, value, "a list of one or more class names")
    for item in value:
        try:
            clean = clean_label(item)
        except FlRobotError as error:
            raise ModelError(f"manifest: {name}: {error}") from error
        if not clean or clean != item:
            _refuse(name, item, "class names without outer spaces, none of them empty")
    if len(set(value)) != len(value):
        _refuse(name, value, "different class names")


def _check_preprocessing(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        _refuse(name, value, "height, width, channels and scale")
    Preprocessing.from_dict(value)


def _check_metrics(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        _refuse(name, value, "numbers by name")
    for key, number in value.items():
        _check_text(f"{name}: a name", key)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            _refuse(f"{name}['{key}']", number, "a number")
        try:
            finite = math.isfinite(number)
        except OverflowError:  # An integer beyond the floats.
            finite = False
        if not finite:
            _refuse(f"{name}['{key}']", number, "a finite number")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "schema_version": lambda name, value: None,  # Checked first, for its own message.
    "version": _check_version,
    "created": _check_text,
    "files": _check_files,
    "classes": _check_classes,
    "preprocessing": _check_preprocessing,
    "metrics": _check_metrics,
    "run": _check_number,
    "round": _check_number,
    "server": _check_text,
    "robot": _check_text,
    "previous": _check_previous,
    "counter": _check_number,
    "statement": _check_statement,
    "signature": _check_text,
    "key_id": _check_text,
}
