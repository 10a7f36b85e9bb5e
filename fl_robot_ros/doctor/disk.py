"""Checks of the robot's data folder, its disk, its memory, and the model in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor.finding import Check, Finding, ok, problem, warning
from fl_robot_ros.errors import ModelError

SECTION = "disk"
_BYTES_PER_MB = 1_000_000
_MEMORY = Path("/proc/meminfo")
_SHARED_MEMORY = Path("/dev/shm")
# Two segments of config/fastdds.xml, and a little more.
_SHARED_MB = 70
_LOCKS = Path("/proc/locks")
_KIB = 1024


def checks(settings: ClientSettings, data_dir: Path) -> list[Check]:
    """Return the checks of the disk.

    Args:
        settings: Settings of `fl_client`.
        data_dir: The robot's data folder.
    """
    return [
        Check(SECTION, "data_dir", partial(check_folder, data_dir)),
        Check(SECTION, "space", partial(check_space, data_dir, settings), 30.0),
        Check(SECTION, "shared_memory", check_shared_memory),
        Check(SECTION, "memory", partial(check_memory, settings.worker_memory_limit_mb)),
        Check(SECTION, "model", partial(check_model, data_dir / "models"), 60.0),
    ]


def check_folder(data_dir: Path) -> Iterator[Finding]:
    """Find out whether the client can write its data."""
    place = _existing(data_dir)
    if not place.is_dir():
        yield problem(f"data_dir {data_dir}: {place} is no folder", "choose another data_dir")
    elif os.statvfs(place).f_flag & os.ST_RDONLY:
        yield problem(
            f"data_dir {data_dir} lies on a disk that is mounted read-only",
            "mount it writable, or choose another data_dir",
        )
    elif not os.access(place, os.W_OK | os.X_OK):
        yield problem(
            f"data_dir {data_dir} cannot be written by this user: {place} is read-only",
            f"sudo chown -R $USER {place}, or choose another data_dir",
        )
    elif locked := _not_writable(data_dir):
        yield problem(
            f"{locked} cannot be written by this user, as after a start with sudo",
            f"sudo chown -R $USER {data_dir}",
        )
    elif place != data_dir:
        yield ok(f"data_dir {data_dir} is not there yet; fl_client makes it")
    else:
        pid = client_process(data_dir)
        user = f", and an fl_client (process {pid}) uses it" if pid is not None else ""
        yield ok(f"data_dir {data_dir} can be written{user}")


def client_process(data_dir: Path, locks: Path = _LOCKS) -> int | None:
    """Return the number of the process that holds a data folder, None without one.

    The kernel's list is read: to try the lock would disturb an `fl_client` that starts now.

    Args:
        data_dir: The data folder.
        locks: The list, as in proc_locks(5).
    """
    try:
        inode = (data_dir / ".lock").stat().st_ino
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        # Numbers of devices differ between the list and stat on some file systems.
        if fields[1:2] == ["FLOCK"] and fields[-3].rpartition(":")[2] == str(inode):
            return int(fields[-4])
    return None


def check_space(data_dir: Path, settings: ClientSettings) -> Iterator[Finding]:
    """Compare the free space with what the dataset may take."""
    disk = os.statvfs(_existing(data_dir))
    free_mb = disk.f_bavail * disk.f_frsize // _BYTES_PER_MB
    used_mb = _size_of(data_dir / "dataset") // _BYTES_PER_MB
    reserve_mb, most_mb = settings.disk_reserve_mb, settings.max_dataset_mb
    if free_mb <= reserve_mb:
        yield problem(
            f"the disk of {data_dir} has {free_mb:,} MB left, and disk_reserve_mb keeps "
            f"{reserve_mb:,}: capture pauses",
            "free some space, or choose a data_dir on another disk",
        )
    elif most_mb and used_mb + free_mb - reserve_mb < most_mb:
        yield warning(
            f"max_dataset_mb is {most_mb:,}, and the disk has room for "
            f"{used_mb + free_mb - reserve_mb:,} ({used_mb:,} MB of images, {free_mb:,} MB free)",
            f"set max_dataset_mb: {max(used_mb + free_mb - reserve_mb, 1)}, or free some space",
        )
    elif not most_mb:
        yield ok(f"{free_mb:,} MB free; max_dataset_mb is 0, no limit")
    else:
        yield ok(f"{free_mb:,} MB free; the dataset has {used_mb:,} of max_dataset_mb {most_mb:,}")


def check_shared_memory(folder: Path = _SHARED_MEMORY) -> Iterator[Finding]:
    """Find out whether Fast DDS can take the room for large images."""
    disk = os.statvfs(folder)
    free_mb = disk.f_bavail * disk.f_frsize // _BYTES_PER_MB
    if free_mb < _SHARED_MB:
        yield warning(
            f"{folder} has {free_mb:,} MB left, and Fast DDS needs 34 for each program that "
            "publishes images",
            "in Docker: --shm-size=512m or --ipc=host; else remove what crashed programs left: "
            f"fastdds shm clean, or {folder}/fastrtps_*",
        )


def check_memory(limit_mb: int, file: Path = _MEMORY) -> Iterator[Finding]:
    """Compare the memory with what a worker may take.

    Args:
        limit_mb: Setting `worker_memory_limit_mb`; 0: no limit.
        file: The kernel's statement.
    """
    sizes = {}
    for line in file.read_text(encoding="ascii").splitlines():
        name, _, text = line.partition(":")
        sizes[name] = int(text.split()[0]) * _KIB // _BYTES_PER_MB
    total_mb, free_mb = sizes["MemTotal"], sizes["MemAvailable"]
    if limit_mb and limit_mb > total_mb:
        yield warning(
            f"worker_memory_limit_mb is {limit_mb:,}, and this machine has {total_mb:,} MB",
            "set it to what the robot's own software leaves free",
        )
    elif limit_mb > free_mb:
        yield warning(
            f"worker_memory_limit_mb is {limit_mb:,}, and {free_mb:,} of {total_mb:,} MB are free "
            "now",
            "lower it, or a large model ends other programs for want of memory",
        )
    else:
        yield ok(f"{free_mb:,} of {total_mb:,} MB of memory are free")


def check_model(models_dir: Path) -> Iterator[Finding]:
    """Read the whole current model, compare it with its manifest, and tell what holds it."""
    from fl_robot_ros.delivery.model_versions import ModelVersions

    store = ModelVersions(models_dir)
    current = store.current()
    if current is None and store.before(None) is not None:
        yield problem(
            f"none of the {len(store.versions())} models in {models_dir} is current",
            "start fl_client, which makes the newest accepted one current",
        )
    elif current is None and store.versions():
        yield warning(
            f"none of the {len(store.versions())} models in {models_dir} was accepted, and none "
            "is current",
            "fl_model show VERSION says why; learn again, or take one with fl_model use VERSION",
        )
    elif current is None:
        yield ok("no model yet: the first comes with the first run")
    else:
        try:
            manifest = store.verify(current.name)
        except ModelError as error:
            yield problem(str(error), "take the version before: fl_call rollback_model")
        else:
            yield ok(f"the current model {current.name} is whole: {len(manifest.classes)} classes")
        hold = store.hold()
        if hold is not None:
            yield warning(
                f"new models are stored and not used by themselves: {hold}",
                "fl_model unpin lets the next one in, fl_model use VERSION takes one",
            )


def _existing(path: Path) -> Path:
    """Return the nearest folder above a path that is there, or the path."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _not_writable(data_dir: Path) -> Path | None:
    """Return a part of a data folder that is there and cannot be written, None for none."""
    parts = [data_dir / "dataset" / "index.sqlite3"]
    with suppress(FileNotFoundError):
        parts += data_dir.iterdir()
    return next((one for one in parts if one.exists() and not os.access(one, os.W_OK)), None)


def _size_of(folder: Path) -> int:
    """Return the size of the files in a folder and its subfolders, in bytes."""
    total, pending = 0, [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # Removed meanwhile, or not there yet.
    return total
