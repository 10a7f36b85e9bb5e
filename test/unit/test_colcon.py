"""`colcon test` runs the tests, and says when one fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLCON = shutil.which("colcon")
PACKAGE = "fl_robot_ros"


def colcon(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run colcon in a workspace."""
    assert COLCON
    return subprocess.run(
        [COLCON, f"--log-base={workspace / 'log'}", *arguments],
        cwd=workspace,
        env={**os.environ, "COLCON_HOME": str(workspace / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(COLCON is None, reason="needs colcon")
def test_colcon_builds_the_package_runs_its_tests_and_tells_a_failure(tmp_path: Path) -> None:
    package = tmp_path / "src" / PACKAGE
    # What pytest and git keep there is not the package's.
    leave = shutil.ignore_patterns(".*", "__pycache__", "build", "install", "log", "*.egg-info")
    shutil.copytree(ROOT, package, ignore=leave)
    built = colcon(tmp_path, "build", "--packages-select", PACKAGE)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "install" / PACKAGE / "lib" / PACKAGE / "fl_client").is_file()

    few = ("--pytest-args", "test/unit/test_left_out.py", "test/unit/test_broken.py")
    broken = package / "test" / "unit" / "test_broken.py"
    for body, code in (("pass", 0), ("assert False", 1)):
        broken.write_text(f"def test_it():\n    {body}\n")
        tested = colcon(tmp_path, "test", "--packages-select", PACKAGE, *few)
        assert tested.returncode == 0, tested.stderr
        result = colcon(tmp_path, "test-result")
        assert f" {code} failure" in result.stdout, tested.stdout + tested.stderr
        assert re.search(r"Summary: [1-9]", result.stdout)
        assert result.returncode == code
