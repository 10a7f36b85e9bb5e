"""Runs tests with the oldest Flower that setup.py promises; .venv has the newest, as locked.

It lies in a folder of its own, which goes before .venv for the tests and all that they start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "oldest_flower"
READY = FOLDER / ".ready"


def main() -> int:
    """Install that Flower if it is missing, and run pytest with it; return the exit code."""
    pin = oldest_flower()
    if not READY.is_file() or READY.read_text() != pin:
        print(f"Installing {pin} into {FOLDER.relative_to(ROOT)}", flush=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        # What else it needs is in .venv.
        subprocess.run([*pip, "--no-deps", "--target", str(FOLDER), pin], check=True)
        READY.write_text(pin)
    before = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(FOLDER), before))),
    }
    tests = [sys.executable, "-m", "pytest", "-o", f"cache_dir={FOLDER}/.pytest_cache"]
    tests += ["--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    return subprocess.run([*tests, *sys.argv[1:]], cwd=ROOT, env=environment).returncode


def oldest_flower() -> str:
    """Return the lower bound of Flower as a pin."""
    for requirement in map(Requirement, metadata.requires("fl_robot_ros") or ()):
        if requirement.name == "flwr":
            [lower] = [bound for bound in requirement.specifier if bound.operator == ">="]
            return f"flwr=={lower.version}.*"
    raise SystemExit("setup.py does not name flwr")


if __name__ == "__main__":
    sys.exit(main())
