"""A Python that has the packages which a test gives it, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SITE = Path(sysconfig.get_path("purelib"))


class BarePython:
    """A virtual environment with chosen packages of this one.

    Attributes:
        path: Its interpreter.
        site: Its folder of packages.
    """

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(command, check=True, timeout=60)
        self.path = folder / "bin" / "python"
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.site = folder / "lib" / version / "site-packages"

    def take(self, *patterns: str) -> None:
        """Take packages over, by the names of their files and folders."""
        for pattern in patterns:
            found = list(_SITE.glob(pattern))
            if not found:
                pytest.skip(f"needs {pattern} in {_SITE}")
            for path in found:
                (self.site / path.name).symlink_to(path)

    def take_all(self) -> None:
        """Take every package over."""
        (self.site / "all.pth").write_text(str(_SITE))

    def run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run it with this package to import from, and without ROS."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [str(self.path), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**kept, "PYTHONPATH": str(ROOT)},
        )
