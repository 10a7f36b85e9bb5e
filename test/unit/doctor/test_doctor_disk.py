"""What a robot's disk and memory cannot hold is told before they are full."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.delivery.hold import Hold, HoldKind
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_file import hash_file
from fl_robot_ros.doctor import disk
from fl_robot_ros.doctor.finding import Level
from fl_robot_ros.process_lock import ProcessLock

MB = 1_000_000


def put_disk(patch: pytest.MonkeyPatch, free_mb: int, flags: int = 0) -> None:
    """Have every disk look so."""
    state = SimpleNamespace(f_bavail=free_mb, f_frsize=MB, f_flag=flags)
    patch.setattr(os, "statvfs", lambda _: state)


@pytest.mark.parametrize(
    ("free_mb", "level", "text"),
    [
        (100, Level.PROBLEM, "has 100 MB left, and disk_reserve_mb keeps 256: capture pauses"),
        (1256, Level.WARNING, "max_dataset_mb is 4,096, and the disk has room for 1,002 (2 MB of"),
        (5000, Level.OK, "5,000 MB free; the dataset has 2 of max_dataset_mb 4,096"),
    ],
)
def test_space_is_compared_with_what_the_dataset_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mb: int, level: Level, text: str
) -> None:
    (tmp_path / "dataset" / "cup").mkdir(parents=True)
    (tmp_path / "dataset" / "cup" / "a.jpg").write_bytes(bytes(2 * MB))
    put_disk(monkeypatch, free_mb)
    [found] = disk.check_space(tmp_path, ClientSettings())
    assert found.level == level
    assert text in found.text
    assert bool(found.fix) == (level != Level.OK)


def test_shared_memory_as_small_as_a_containers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    put_disk(monkeypatch, 500)
    assert list(disk.check_shared_memory()) == []
    put_disk(monkeypatch, 60)
    [found] = disk.check_shared_memory()
    assert found.text.startswith("/dev/shm has 60 MB left")
    assert "--shm-size" in found.fix


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [found] = disk.check_folder(tmp_path / "a" / "b")
    assert found.text.endswith("is not there yet; fl_client makes it")
    assert not (tmp_path / "a").exists()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # Root may write anywhere.
        [found] = disk.check_folder(tmp_path)
        assert "cannot be written by this user" in found.text
    (tmp_path / "models").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, _: path != tmp_path / "models")
        [found] = disk.check_folder(tmp_path)
        assert found.text.startswith(f"{tmp_path}/models cannot be written by this user, as after")
        assert found.fix == f"sudo chown -R $USER {tmp_path}"
    with monkeypatch.context() as patch:
        put_disk(patch, 1, os.ST_RDONLY)
        [found] = disk.check_folder(tmp_path)
        assert "mounted read-only" in found.text
    (tmp_path / "file").touch()
    [found] = disk.check_folder(tmp_path / "file" / "data")
    assert "is no folder" in found.text


def test_the_client_that_holds_a_folder_is_found_and_left_alone(tmp_path: Path) -> None:
    assert disk.client_process(tmp_path) is None
    lock = ProcessLock(tmp_path / ".lock")
    assert disk.client_process(tmp_path) is None
    assert lock.acquire()
    assert disk.client_process(tmp_path) == os.getpid()
    [found] = disk.check_folder(tmp_path)
    assert found.text.endswith(f"and an fl_client (process {os.getpid()}) uses it")
    lock.close()
    assert disk.client_process(tmp_path) is None


@pytest.mark.parametrize(
    ("limit_mb", "level"), [(0, "ok"), (1000, "ok"), (3000, "warning"), (5000, "warning")]
)
def test_memory_is_compared_with_what_a_worker_may_take(
    tmp_path: Path, limit_mb: int, level: str
) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 4000000 kB\nMemAvailable: 2000000 kB\nHugePages_Total: 0\n")
    [found] = disk.check_memory(limit_mb, file)
    assert found.level == level
    assert len(list(disk.check_memory(0))) == 1


def test_the_current_model_is_read_as_a_whole(tmp_path: Path) -> None:
    models = tmp_path / "models"
    [found] = disk.check_model(models)
    assert found.text.startswith("no model yet")
    folder = models / "v00001"
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"weights")
    Manifest(
        version="v00001",
        created="2026-01-02T03:04:05+00:00",
        files={"model.keras": hash_file(folder / "model.keras")},
        classes=["cup", "phone"],
        preprocessing={"height": 8, "width": 8, "channels": 3, "scale": 1 / 255},
    ).write(folder)
    [found] = disk.check_model(models)
    assert found.level == Level.PROBLEM
    (models / "current").symlink_to(folder.name)
    [found] = disk.check_model(models)
    assert found.text == "the current model v00001 is whole: 2 classes"
    Hold(HoldKind.PINNED, "v00001", "the fair").write(models)
    [_, held] = disk.check_model(models)
    assert held.level == Level.WARNING
    assert held.text.endswith("v00001 is pinned: the fair")
    (models / "hold.json").unlink()
    (folder / "model.keras").write_bytes(b"cut off")
    [found] = disk.check_model(models)
    assert "model.keras is damaged" in found.text
    assert "rollback_model" in found.fix


def test_a_robot_whose_models_were_all_refused_needs_a_person_or_another_run(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "v00001"
    folder.mkdir()
    Manifest(
        version="v00001",
        created="2026-01-02T03:04:05+00:00",
        files={},
        classes=["cup", "phone"],
        preprocessing={"height": 8, "width": 8, "channels": 3, "scale": 1 / 255},
        accepted=False,
    ).write(folder)
    [found] = disk.check_model(tmp_path)
    assert (found.level, "fl_model use" in found.fix) == (Level.WARNING, True)
