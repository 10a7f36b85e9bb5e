"""The Python of the workers: its path, and a check of its packages."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from fl_robot_ros.data_source import SourceKind
from fl_robot_ros.dependency import (
    LEARNING_ENVIRONMENT,
    LEARNING_MODULES,
    fits_requirement,
    install_command,
    package_name,
)
from fl_robot_ros.errors import SettingError
from fl_robot_ros.robot import worker_probe

_OLDEST_PYTHON = (3, 11)  # Flower's
_SOURCE_MODULES = {
    SourceKind.TFDS: ("tensorflow_datasets",),
    SourceKind.HUB: ("flwr_datasets",),
}
_ENVIRONMENT_ADVICE = f"{LEARNING_ENVIRONMENT} and set worker_python to its bin/python"
_TIMEOUT_SEC = 60.0
# Marks a check without a result: differs from everything that `_changes` returns.
_UNKNOWN: dict[str, int | None] = {"": 0}

_logger = logging.getLogger(__name__)


class _Finding(NamedTuple):
    """The result of a check, and the times of the last changes of the checked places."""

    problem: str
    changes: dict[str, int | None]


class WorkerPython:
    """The interpreter of the workers, and checks of it in a process.

    Attributes:
        path: The interpreter.
    """

    def __init__(self, setting: str, source_kind: SourceKind) -> None:
        """Find the interpreter, without starting it.

        Args:
            setting: Value of `worker_python`; "" for the Python of this process.
            source_kind: Kind of the workers' data source, which may need a package.

        Raises:
            SettingError: There is no such program.
        """
        self.path = Path(os.path.expandvars(setting)).expanduser() if setting else _own()
        self._setting = setting
        self._modules = (*LEARNING_MODULES, *_SOURCE_MODULES.get(source_kind, ()))
        self._lock = threading.Lock()  # One check at a time.
        self._finding: _Finding | None = None
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        if not self._is_program():
            raise SettingError(self._no_program())

    def check_in_background(self) -> None:
        """Check in a thread, and log a warning where no worker can run."""

        def check() -> None:
            problem = self.check()
            if problem and not self._is_stopped:
                _logger.warning("no worker can run, so this robot cannot learn yet: %s", problem)

        threading.Thread(target=check, name="worker-python", daemon=True).start()

    def check(self) -> str:
        """Return in one line why no worker can run, "" if one can; may take seconds.

        The check is repeated only after a change of the interpreter or of its package folders.
        """
        with self._lock:
            finding = self._finding
            if finding is None or _changes(finding.changes) != finding.changes:
                finding = self._finding = self._ask()
            return finding.problem

    def known_problem(self) -> str:
        """Return at once the result of the last check, "" if it is unknown or outdated."""
        if not self._is_program():
            return self._no_program()
        finding = self._finding
        if finding is None or _changes(finding.changes) != finding.changes:
            return ""
        return finding.problem

    def stop(self) -> None:
        """End a check that is in progress, and all later ones."""
        self._is_stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def _ask(self) -> _Finding:
        command = [str(self.path), worker_probe.__file__, *self._modules]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=worker_environment(self.path),
            )
            if self._is_stopped:
                self._process.kill()
            with self._process as process:
                try:
                    output, errors = process.communicate(timeout=_TIMEOUT_SEC)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
            if process.returncode:
                reason = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
                return self._no_result(reason)
            found = json.loads(output)
            places = [str(self.path), *found["places"]]
            return _Finding(self._problem(found), _changes(places))
        except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            return self._no_result(str(error))

    def _problem(self, found: dict[str, Any]) -> str:
        version = ".".join(map(str, found["python"]))
        name = f"{self._name()}, Python {version},"
        if tuple(found["python"][:2]) < _OLDEST_PYTHON:
            return f"{name} is too old for Flower, which needs 3.11; {_ENVIRONMENT_ADVICE}"
        versions = found["versions"]
        missing = [module for module in self._modules if module not in versions]
        wrong = [
            module
            for module, has in versions.items()
            if has and not any(fits_requirement(one, module) for one in has)
        ]
        if not (missing or wrong):
            return ""
        faults = [f"lacks {', '.join(map(package_name, missing))}"] if missing else []
        faults += [f"has {package_name(module)} {versions[module][0]}" for module in wrong]
        needed = missing + wrong
        if found["is_venv"]:
            advice = f"install with: {install_command(str(self.path), needed)}"
        else:
            advice = _ENVIRONMENT_ADVICE
        return f"{name} {' and '.join(faults)}; {advice}"

    def _no_result(self, reason: str) -> _Finding:
        return _Finding(f"{self._name()} does not run as Python does: {reason}", _UNKNOWN)

    def _name(self) -> str:
        return f"worker_python {self.path}" if self._setting else f"the node's own {self.path}"

    def _is_program(self) -> bool:
        return self.path.is_file() and os.access(self.path, os.X_OK)

    def _no_program(self) -> str:
        return (
            f"worker_python is {self._setting!r}, which is not a program; expected the Python of "
            "a virtual environment, as '~/fl_venv/bin/python', or '' for the node's own"
        )


def worker_environment(python: Path) -> dict[str, str]:
    """Return the environment variables of a process in some interpreter.

    ROS from PyPI restarts Python with its own library path. Another interpreter must inherit
    neither that path nor the module path of ROS.
    """
    environment = dict(os.environ)
    if environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None) is not None:
        paths = environment.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
        foreign = [path for path in paths if path and not path.startswith(sys.prefix)]
        if foreign:
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(foreign)
    if python != _own():
        environment.pop("PYTHONPATH", None)
    return environment


def _own() -> Path:
    return Path(sys.executable)


def _changes(places: Iterable[str]) -> dict[str, int | None]:
    """Return the time of the last change of each file or folder, in ns; None if it is missing."""
    changes: dict[str, int | None] = {}
    for place in places:
        try:
            changes[place] = Path(place).stat().st_mtime_ns
        except OSError:
            changes[place] = None
    return changes
