"""Checks of the Python packages: those of the robot's own Python, and those of its workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros import __version__
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.dependency import (
    BAG_MODULES,
    REQUIREMENTS,
    describe_missing,
    describe_unimportable,
    fits_requirement,
    package_name,
)
from fl_robot_ros.doctor import import_probe
from fl_robot_ros.doctor.child_process import last_line, run_child
from fl_robot_ros.doctor.finding import Check, Finding, Level, ok, problem, split, warning
from fl_robot_ros.errors import SettingError
from fl_robot_ros.robot.worker_python import WorkerPython, worker_environment

SECTION = "packages"
_LITERT = "ai_edge_litert"
_BACKPORT = "backports.zstd"
# Every node needs these; the others only what is said of them.
_NEEDED = ("numpy", "cv2", "yaml", "rich")
_WITHOUT = {_LITERT: "fl_perception and fl_predict cannot run"}
_WITHOUT.update(dict.fromkeys(BAG_MODULES, "rosbags cannot be read"))
_PROBED = ("numpy", "cv2", "yaml", "rich", f"{_LITERT}.interpreter", *BAG_MODULES, "rclpy")
_IMPORT_SEC = 60.0
_SHOWN = {"numpy": "NumPy", "cv2": "OpenCV", "rclpy": "rclpy"}
# Loaded in this order by a worker.
_WORKER_MODULES = ("flwr", "tensorflow")
_PYTHON_WITH_ZSTD = (3, 14)


class Imported(NamedTuple):
    """What came of an import.

    Attributes:
        version: Version of the module, "" for none.
        error: Why it cannot be imported; None if it can.
    """

    version: str
    error: ImportError | None = None


def checks(settings: ClientSettings) -> list[Check]:
    """Return the checks of the packages.

    Args:
        settings: Settings of `fl_client`.
    """
    return [
        Check(SECTION, "python", check_own_python, _IMPORT_SEC + 5.0),
        Check(SECTION, "worker_python", partial(check_worker, settings), 3 * _IMPORT_SEC),
    ]


def check_own_python() -> Iterator[Finding]:
    """Find packages that are missing, broken, or of an unknown version in this Python."""
    has_zstd = sys.version_info >= _PYTHON_WITH_ZSTD
    modules = [module for module in _PROBED if not (has_zstd and module == _BACKPORT)]
    found = import_modules(Path(sys.executable), modules)
    versions = [
        f"{name} {found[module].version}".strip()
        for module, name in _SHOWN.items()
        if _works(found, module)
    ]
    version = ".".join(map(str, sys.version_info[:3]))
    packages = f" with {', '.join(versions)}" if versions else ""
    yield ok(f"fl_robot_ros {__version__} on Python {version} ({sys.executable}){packages}")
    absent_for: dict[str, list[str]] = {}
    for probed in modules:
        module = _LITERT if probed.startswith(_LITERT) else probed
        result = found.get(probed)
        if result is None or result == Imported(""):
            continue
        if isinstance(result.error, ModuleNotFoundError) and module in REQUIREMENTS:
            absent_for.setdefault(_WITHOUT.get(module, ""), []).append(module)
        elif module == "rclpy" and result.error is not None:
            yield _without_ros(result.error)
        elif result.error is not None:
            level = Level.PROBLEM if module in _NEEDED else Level.WARNING
            yield split(level, f"{module}: {describe_unimportable(result.error)}")
        elif module in REQUIREMENTS and not fits_requirement(result.version, module):
            yield warning(
                f"{package_name(module)} is {result.version}, which nobody tried",
                f"install {REQUIREMENTS[module]}",
            )
    for loss, absent in absent_for.items():
        start = f"{loss}: " if loss else ""
        level = Level.WARNING if loss else Level.PROBLEM
        yield split(level, start + describe_missing(absent))


def check_worker(settings: ClientSettings) -> Iterator[Finding]:
    """Find out whether a worker can run, and whether Flower and TensorFlow can be loaded.

    Raises:
        SettingError: There is no such program.
    """
    try:
        kind = DataSource.from_settings(settings).kind
    except SettingError:  # Told among the parameters.
        kind = SourceKind.CAPTURE
    python = WorkerPython(settings.worker_python, kind)
    line = python.check()
    if line:
        yield split(Level.PROBLEM, f"this robot cannot learn: {line}")
        return
    found = import_modules(python.path, _WORKER_MODULES, worker_environment(python.path))
    for module, result in found.items():
        if result.error is not None:
            yield problem(
                f"this robot cannot learn: {python.path} cannot load {module}: {result.error}",
                f"install it again there, for this machine's processor: {REQUIREMENTS[module]}",
            )
    versions = [f"{name} {found[name].version}" for name in found if _works(found, name)]
    if len(versions) == len(_WORKER_MODULES):
        yield ok(f"worker_python {python.path} has {', '.join(versions)}")


def import_modules(
    python: Path, modules: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, Imported]:
    """Import modules in a process of some Python.

    Args:
        python: The interpreter.
        modules: What to import, in this order; behind one that crashes, none is.
        environment: Environment variables; None: those of this process.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: The imports take more than a minute.
    """
    done = run_child([str(python), import_probe.__file__, *modules], _IMPORT_SEC, environment)
    found: dict[str, Imported] = {}
    begun = ""
    for line in done.stdout.splitlines():
        try:
            values = json.loads(line)
            begun = str(values["module"])
        except (ValueError, LookupError, TypeError):
            continue  # What a module prints when it is imported.
        if "version" in values:
            found[begun] = Imported(values["version"])
        elif "error" in values:
            cls = ModuleNotFoundError if values["kind"] == "ModuleNotFoundError" else ImportError
            found[begun] = Imported("", cls(values["error"], name=values["name"]))
    if done.returncode and begun and begun not in found:
        found[begun] = Imported("", ImportError(_describe_end(done)))
    return found


def _works(found: Mapping[str, Imported], module: str) -> bool:
    return module in found and found[module].error is None


def _without_ros(error: ImportError) -> Finding:
    line = f"no node can run: {describe_unimportable(error)}"
    if isinstance(error, ModuleNotFoundError):  # As on a server, or before ROS was sourced.
        return split(Level.WARNING, line)
    return problem(line, "look at RMW_IMPLEMENTATION, and whether ROS is of this Python")


def _describe_end(done: subprocess.CompletedProcess[str]) -> str:
    """Return in words how a process ended that imported a module."""
    code = done.returncode
    if code >= 0:
        return f"Python ended: {last_line(done)}"
    hint = ", as where the processor lacks instructions (AVX)" if code == -signal.SIGILL else ""
    return f"Python was killed by {signal.Signals(-code).name}{hint}"
