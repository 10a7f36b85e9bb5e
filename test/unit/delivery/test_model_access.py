"""Which models a node takes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fl_robot_ros.delivery.model_access import ModelAccess
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import IdentityError, ModelError

WriteVersion = Callable[..., Path]


@pytest.fixture
def access(tmp_path: Path) -> ModelAccess:
    return ModelAccess(tmp_path / "models")


def point_to(folder: Path) -> None:
    link = folder.parent / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)


@pytest.mark.parametrize("name", ["", "model.keras", "model.tflite", "manifest.json"])
def test_a_version_of_the_store_is_taken_and_named_without_links(
    access: ModelAccess, write_version: WriteVersion, name: str
) -> None:
    folder = write_version()
    point_to(folder)
    assert access.check(str(folder / name)) == folder / name
    assert access.check(str(folder.parent / "current" / name)) == folder / name


def test_a_model_elsewhere_needs_to_be_allowed_or_a_setting(
    write_version: WriteVersion, tmp_path: Path
) -> None:
    folder = write_version()
    home = tmp_path / "robot" / "models"
    home.mkdir(parents=True)
    with pytest.raises(ModelError, match=r"lies outside of .*robot/models; set data_dir"):
        ModelAccess(home).check(str(folder))
    # A link inside does not help.
    (home / "v00009").symlink_to(folder)
    with pytest.raises(ModelError, match="lies outside"):
        ModelAccess(home).check(str(home / "v00009"))
    assert ModelAccess(home, [folder.parent]).check(str(folder)) == folder
    assert ModelAccess(home, own_path=folder).check(str(folder)) == folder


@pytest.mark.parametrize(
    "path",
    ["", ".", "models/v00001", "/dev/zero", "/proc/self/mem", "\0", "/" + 5000 * "x", "\ufffd"],
)
def test_a_hostile_path_is_refused(
    access: ModelAccess, write_version: WriteVersion, path: str
) -> None:
    write_version()
    with pytest.raises(ModelError):
        access.check(path)


def test_links_in_a_circle_are_refused(access: ModelAccess, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "v00001").symlink_to("v00002")
    (tmp_path / "models" / "v00002").symlink_to("v00001")
    with pytest.raises(ModelError, match="there is no model"):
        access.check(str(tmp_path / "models" / "v00001"))


def test_no_special_file_keeps_anybody_waiting(access: ModelAccess, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "v00001"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "manifest.json")
    for name in ("", "manifest.json", "model.tflite"):
        with pytest.raises(ModelError):
            access.check(str(folder / name))


def test_a_refused_or_withdrawn_version_is_taken_while_it_is_current(
    access: ModelAccess, write_version: WriteVersion, tmp_path: Path
) -> None:
    write_version("v00001")
    refused = write_version("v00002", accepted=False, reason="it is worse")
    third = write_version("v00003")
    store = ModelStore(tmp_path / "models")
    store.use("v00003")
    store.withdraw("v00003", "it says pallet to all")
    with pytest.raises(ModelError, match="v00002 was refused: it is worse"):
        access.check(str(refused))
    with pytest.raises(ModelError, match="v00003 was taken back: it says pallet to all"):
        access.check(str(third))
    store.use("v00002")
    assert access.check(str(refused)) == refused


def test_an_older_version_of_the_fleet_is_taken_while_it_is_current(
    access: ModelAccess, write_version: WriteVersion, tmp_path: Path
) -> None:
    old = write_version("v00001", key_id="a", counter=3)
    new = write_version("v00002", key_id="a", counter=7)
    write_version("v00003", key_id="a", counter=9, accepted=False)
    write_version("v00004", key_id="another", counter=99)
    assert access.check(str(new)) == new
    with pytest.raises(ModelError, match=r"v00001 is older than v00002, .* counter is 3"):
        access.check(str(old))
    assert access.check(str(old), may_be_older=True) == old
    ModelStore(tmp_path / "models").use("v00001")
    assert access.check(str(old)) == old


def test_with_an_enrolment_the_fleets_own_models_alone_are_taken(
    write_version: WriteVersion, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography")
    key_folder = importlib.import_module("fl_robot_ros.identity.key_folder")
    keys = key_folder.KeyFolder.create(tmp_path / "keys", ["localhost"])
    enrolment = keys.enrol("r1", tmp_path / "r1.json", "")
    folder = write_version()
    for access in (
        ModelAccess(tmp_path / "models", enrolment=enrolment),
        ModelAccess(tmp_path / "models", own_path=folder, enrolment=enrolment),
    ):
        with pytest.raises(IdentityError, match="v00001 is not signed"):
            access.check(str(folder))
