"""Temperature, memory and disk of the robot's computer, from the kernel."""

from __future__ import annotations

import math
import os
from pathlib import Path

from fl_robot_ros.autonomy.reading import Reading

_MB = 1e6
# Memory of a process that no file backs; what a file backs counts as available.
_OWN_MEMORY = ("RssAnon:", "RssShmem:")
# Zones that say anything else are not connected.
_COLDEST_C, _HOTTEST_C = -50.0, 150.0


def temperature(folder: Path = Path("/sys/class/thermal")) -> Reading:
    """Return the temperature of the hottest thermal zone in °C."""
    hottest, hottest_zone = -math.inf, ""
    try:
        zones = sorted(folder.glob("thermal_zone*"))
    except OSError:
        zones = []
    for zone in zones:
        try:
            value = int((zone / "temp").read_text()) / 1000.0
            kind = (zone / "type").read_text().strip()
        except (OSError, ValueError):
            continue  # such as a zone that is switched off
        if _COLDEST_C < value < _HOTTEST_C and value > hottest:
            hottest, hottest_zone = value, kind
    if not hottest_zone:
        return Reading.unknown(f"no thermal zone in {folder} can be read; see temperature_topic")
    return Reading(hottest, f"{hottest:.1f}")


def free_memory_mb(worker_pid: int | None, proc: Path = Path("/proc")) -> Reading:
    """Return the memory in MB that other programs may take, that of the worker among it.

    The worker would otherwise stop at its own use of memory.
    """
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        free_bytes = int(available.split()[1]) * 1024
    except (OSError, ValueError, IndexError, StopIteration):
        return Reading.unknown(f"MemAvailable is not in {proc}/meminfo")
    if worker_pid is not None:
        try:
            status = (proc / str(worker_pid) / "status").read_text(errors="replace").splitlines()
            words = (line.split() for line in status if line.startswith(_OWN_MEMORY))
            free_bytes += sum(int(kilobytes) * 1024 for _, kilobytes, *_ in words)
        except (OSError, ValueError):
            pass  # it has ended
    return Reading(free_bytes / _MB, f"{free_bytes / _MB:.0f}")


def free_disk_mb(folder: Path) -> Reading:
    """Return the space in MB that is free for this user on a folder's disk."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return Reading.unknown(f"{folder}: {error.strerror}")
    free_bytes = found.f_bavail * found.f_frsize
    return Reading(free_bytes / _MB, f"{free_bytes / _MB:.0f}")
