"""Runs tests on Python 3.10 with the oldest package versions that setup.py promises.

These are the versions that apt has on Ubuntu 22.04. `make test-oldest` runs the tests that need no
ROS, `make test` a part of them; without a Python 3.10 both say so. LiteRT is installed without its
dependencies, as in the README. Tests whose packages are missing are skipped, as on a robot; the
Python that runs this script makes the models for the others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / "build" / "oldest"
READY = VENV / ".ready"
# PyYAML 5.4.1 has no wheel for Python 3.10, and newer tools do not build it.
BUILD_TOOLS = ("setuptools==65.5.0", "wheel==0.48.0")
# The newest for that pytest; it is for speed alone.
XDIST = "pytest-xdist==3.5.0"


def main() -> int:
    """Make the environment if it is missing, and run pytest in it; return the exit code."""
    python = find_python()
    if not python:
        print("Tests with the oldest versions were skipped: no Python 3.10 found; set PYTHON310.")
        return 0
    pins = [*oldest_versions("test"), XDIST]
    alone = [*oldest_versions("perception")]
    purpose = " ".join([*BUILD_TOOLS, *pins, *alone])
    if not READY.is_file() or READY.read_text() != purpose:
        print(f"Installing {purpose} into {VENV.relative_to(ROOT)}", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        run(python, "-m", "venv", "--without-pip", str(VENV))
        # The pip of .venv takes half the time of the one that comes with Python 3.10.
        pip = (sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python"), "install")
        pip += ("--quiet", "--disable-pip-version-check", "--no-build-isolation")
        run(*pip, *BUILD_TOOLS)
        run(*pip, *pins)
        run(*pip, "--no-deps", *alone)
        READY.write_text(purpose)
    tests = (str(VENV / "bin" / "python"), "-m", "pytest", "-o", f"cache_dir={VENV}/.pytest_cache")
    tests += ("--numprocesses", "2", "--dist", "loadfile")
    environment = {**os.environ, "TENSORFLOW_PYTHON": sys.executable}
    arguments = sys.argv[1:] or ["test/unit", "test/system"]
    return subprocess.run([*tests, *arguments], cwd=ROOT, env=environment).returncode


def find_python() -> str:
    """Return the path of a working Python 3.10, "" where there is none."""
    check = "import sqlite3, sys, venv; sys.exit(sys.version_info[:2] != (3, 10))"
    installed = sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python"))
    for name in (os.environ.get("PYTHON310", ""), "python3.10", *map(str, installed)):
        python = shutil.which(name)
        if python and not subprocess.run([python, "-c", check], capture_output=True).returncode:
            return python
    return ""


def oldest_versions(extra: str) -> Iterator[str]:
    """Yield the lower bounds of an extra as pins; with "test", those always required too."""
    for requirement in map(Requirement, metadata.requires("fl_robot_ros") or ()):
        environment = {"python_version": "3.10", "extra": extra}
        is_always_needed = "extra" not in str(requirement.marker)
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        if extra == "test" or not is_always_needed:
            [lower] = [bound for bound in requirement.specifier if bound.operator == ">="]
            yield f"{requirement.name}=={lower.version}.*"


def run(*command: str) -> None:
    """Run a command that must not fail."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
