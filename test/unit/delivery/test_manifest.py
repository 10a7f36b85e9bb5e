import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fl_robot_ros.delivery.manifest import MANIFEST_FILE, TFLITE_FILE, Manifest
from fl_robot_ros.errors import ModelError

SHA = "0" * 64
# As programs before the signatures wrote it.
OLD: dict[str, Any] = {
    "version": "v00002",
    "created": "2026-01-02T03:04:05+00:00",
    "files": {"model.tflite": SHA},
    "classes": ["circle", "stop sign", "Å"],
    "preprocessing": {"height": 32, "width": 24, "channels": 1, "scale": 1.0},
    "metrics": {"accuracy_before": 0.25, "accuracy_after": 0.75},
    "run": 3,
    "round": 7,
    "server": "10.0.0.1:8000",
    "robot": "robot1",
    "previous": "v00001",
    "schema_version": 1,
}
SOUND: dict[str, Any] = {
    **OLD,
    "schema_version": 2,
    "per_class": {
        "circle": {"images": 4, "recall": 0.75, "recall_before": 1},
        "Å": {"images": 0},
    },
    "accepted": False,
    "reason": "worse than v00001: 0.25 instead of 0.75",
    "snapshot": "20260102-030405",
    "counter": 12,
    "statement": '{"round": 7}',
    "signature": "AAAA",
    "key_id": "0123456789abcdef",
}


def write_raw(folder: Path, content: str | bytes) -> Path:
    path = folder / MANIFEST_FILE
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    manifest = Manifest(**SOUND)
    manifest.write(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert Manifest.load(tmp_path / MANIFEST_FILE) == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_FILE]


def test_a_manifest_of_an_earlier_program_is_read(tmp_path: Path) -> None:
    write_raw(tmp_path, json.dumps(OLD))
    manifest = Manifest.load(tmp_path)
    assert (manifest.version, manifest.counter, manifest.signature) == ("v00002", 0, "")
    assert (manifest.schema_version, manifest.accepted, manifest.per_class) == (1, True, {})


def test_a_manifest_of_a_newer_program_is_known_as_such(tmp_path: Path) -> None:
    # Its names are other ones, so that they are no reason to call it something else.
    write_raw(tmp_path, json.dumps({"schema_version": 3, "name": "v00009", "colour": "blue"}))
    with pytest.raises(ModelError, match=r"made by a newer program.*reads up to 2"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema_version", 0),
        ("schema_version", True),
        ("schema_version", "2"),
        ("version", "../v1"),
        ("version", ""),
        ("created", 5),
        ("server", "line\nbreak"),
        ("robot", "x" * 2000),
        ("run", -1),
        ("counter", -1),
        ("statement", "line\nbreak"),
        ("signature", None),
        ("round", 1.5),
        ("run", True),
        ("previous", ".."),
        ("files", []),
        ("files", {"../../etc/passwd": SHA}),
        ("files", {"/etc/passwd": SHA}),
        ("files", {"..": SHA}),
        ("files", {"model.tflite": "0" * 63}),
        ("files", {"model.tflite": "A" * 64}),
        ("files", {"model.tflite": None}),
        ("classes", []),
        ("classes", "abc"),
        ("classes", ["a", "a"]),
        ("classes", ["a", ""]),
        ("classes", ["a", " b"]),
        ("classes", ["a", "b\x00"]),
        ("classes", ["a", 5]),
        ("preprocessing", None),
        ("preprocessing", {"height": 32}),
        ("preprocessing", {"height": 10**9, "width": 1, "channels": 3, "scale": 1.0}),
        ("metrics", [1]),
        ("metrics", {"accuracy": "good"}),
        ("metrics", {"accuracy": True}),
        ("metrics", {"accuracy": float("nan")}),
        ("metrics", {"accuracy": 10**400}),
        ("metrics", {"a\nb": 1.0}),
        ("per_class", []),
        ("per_class", {"circle": 0.5}),
        ("per_class", {"circle": {"recall": 0.5}}),
        ("per_class", {"circle": {"images": -1}}),
        ("per_class", {"circle": {"images": 4, "recall": 1.5}}),
        ("per_class", {"circle": {"images": 4, "recall_before": "good"}}),
        ("per_class", {"circle": {"images": 4, "precision": 0.5}}),
        ("accepted", 1),
        ("reason", "line\nbreak"),
        ("snapshot", 5),
    ],
)
def test_a_hostile_value_is_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    write_raw(tmp_path, json.dumps({**SOUND, name: value}))
    with pytest.raises(ModelError, match=name):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[1, 2]",
        b'"text"',
        b"[" * 100_000,
        json.dumps({key: value for key, value in SOUND.items() if key != "files"}).encode(),
        json.dumps({**SOUND, "extra": 1}).encode(),
        b" " * (5 * 1024 * 1024),
    ],
    ids=lambda content: content[:12],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    write_raw(tmp_path, content)
    with pytest.raises(ModelError, match=MANIFEST_FILE):
        Manifest.load(tmp_path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.json.*No such file"):
        Manifest.load(tmp_path)


def test_a_file_is_given_only_with_its_hash(write_version: Callable[..., Path]) -> None:
    folder = write_version()
    manifest = Manifest.load(folder)
    content = manifest.read_file(folder, TFLITE_FILE)
    assert content == (folder / TFLITE_FILE).read_bytes()
    (folder / TFLITE_FILE).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="SHA-256"):
        manifest.read_file(folder, TFLITE_FILE)
    with pytest.raises(ModelError, match=r"does not list 'other\.bin'"):
        manifest.read_file(folder, "other.bin")
    (folder / TFLITE_FILE).unlink()
    with pytest.raises(ModelError, match="No such file"):
        manifest.read_file(folder, TFLITE_FILE)


def test_a_manifest_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot write"):
        Manifest(**SOUND).write(tmp_path / "absent" / MANIFEST_FILE)
