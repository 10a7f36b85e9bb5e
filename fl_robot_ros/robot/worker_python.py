"""The Python of the workers: where it is, and whether it has what learning needs."""

from __future__ import annotations

import json
import logging
import os
import re
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
    REQUIREMENTS,
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
# Of a check that is not to be relied on: never like what `_changes` finds.
_UNKNOWN: dict[str, int | None] = {"": 0}

_logger = logging.getLogger(__name__)


class _Finding(NamedTuple):
    """What was found, and when the places in which it was looked for had changed last."""

    problem: str
    changes: dict[str, int | None]


class WorkerPython:
    """The interpreter of the workers. What it has is asked in a process of its own.

    Attributes:
        path: The interpreter.
    """

    def __init__(self, setting: str, source_kind: SourceKind) -> None:
        """Find the interpreter; it is not started.

        Args:
            setting: Value of `worker_python`; "" for the Python that runs this.
            source_kind: Kind of the `DataSource` that the workers learn from.

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
        """Return in one line why no worker can run, "" if it can; may take seconds.

        The interpreter is asked anew only where it, or a folder of its packages, has changed.
        """
        with self._lock:
            finding = self._finding
            if finding is None or _changes(finding.changes) != finding.changes:
                finding = self._finding = self._ask()
            return finding.problem

    def known_problem(self) -> str:
        """Return what the last check found, "" where nothing is known or that has changed.

        Returns at once.
        """
        if not self._is_program():
            return self._no_program()
        finding = self._finding
        if finding is None or _changes(finding.changes) != finding.changes:
            return ""
        return finding.problem

    def stop(self) -> None:
        """End a check that is going on, and all later ones."""
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
                return self._no_answer(reason)
            found = json.loads(output)
            places = [str(self.path), *found["places"]]
            return _Finding(self._problem(found), _changes(places))
        except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            return self._no_answer(str(error))

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
            if has and not any(_fits(one, REQUIREMENTS[module]) for one in has)
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

    def _no_answer(self, reason: str) -> _Finding:
        return _Finding(f"{self._name()} does not answer as Python does: {reason}", _UNKNOWN)

    def _name(self) -> str:
        return f"worker_python {self.path}" if self._setting else f"the node's own {self.path}"

    def _is_program(self) -> bool:
        return self.path.is_file() and os.access(self.path, os.X_OK)

    def _no_program(self) -> str:
        return (
            f"worker_python is {self._setting!r}, which is no program; expected the Python of a "
            "virtual environment, as '~/fl_venv/bin/python', or '' for the node's own"
        )


def worker_environment(python: Path) -> dict[str, str]:
    """Return the environment variables for another process in an interpreter.

    ROS from PyPI restarts Python with the library path of its own environment; another
    interpreter must not inherit it, nor ROS' module path.
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
    """Return when each file or folder changed last, in ns; None where it is not there."""
    changes: dict[str, int | None] = {}
    for place in places:
        try:
            changes[place] = Path(place).stat().st_mtime_ns
        except OSError:
            changes[place] = None
    return changes


def _fits(version: str, requirement: str) -> bool:
    """Say whether a version is within the bounds `>=` and `<` of a requirement."""
    bounds = dict(re.findall(r"(>=|<)([\d.]+)", requirement))
    found = _numbers(version)
    lower, upper = _numbers(bounds.get(">=", "0")), _numbers(bounds.get("<", ""))
    return found >= lower and (not upper or found < upper)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 21, 0) of "2.21.0rc1"."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
