"""Packages that are missing, broken or crash are told with the command that mends them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from bare_python import BarePython

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor import packages
from fl_robot_ros.doctor.finding import Finding, Level
from fl_robot_ros.doctor.packages import check_own_python, check_worker, import_modules
from fl_robot_ros.errors import SettingError


def faults(findings: Iterable[Finding]) -> list[Finding]:
    return [found for found in findings if found.level != Level.OK]


@pytest.fixture
def bare(tmp_path: Path) -> BarePython:
    return BarePython(tmp_path / "venv")


def test_whatever_an_import_does_it_is_told(bare: BarePython) -> None:
    (bare.site / "sound.py").write_text("print('{hello')\n__version__ = '1.2'")
    (bare.site / "broken.py").write_text("import nothing_of_this_name")
    (bare.site / "ends.py").write_text("raise SystemExit(3)")
    (bare.site / "leaves.py").write_text(
        "import os; os.write(2, b'\\x1b[31mno such middleware\\x1b[0m\\n'); os._exit(102)"
    )
    (bare.site / "kills.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    found = import_modules(bare.path, ["sound", "broken", "ends", "kills", "sound"])
    assert found["sound"] == ("1.2", None)
    assert isinstance(found["broken"].error, ModuleNotFoundError)
    assert found["broken"].error.name == "nothing_of_this_name"
    assert str(found["ends"].error) == "3"
    ended = import_modules(bare.path, ["leaves"])
    assert str(ended["leaves"].error) == "Python ended: no such middleware"
    assert "killed by SIGILL, as where the processor lacks" in str(found["kills"].error)


def test_this_python_has_what_a_robot_needs() -> None:
    first, *others = check_own_python()
    assert first.level == Level.OK
    assert f"({sys.executable}) with NumPy " in first.text
    assert not [found for found in others if found.level == Level.PROBLEM]


def test_what_is_missing_is_told_by_what_cannot_be_done(
    bare: BarePython, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the OpenCV of Ubuntu 22.04 does beside NumPy 2.
    (bare.site / "cv2.py").write_text(
        "raise ImportError('numpy.core.multiarray failed to import')"
    )
    (bare.site / "lz4.py").write_text("__version__ = '3.1'")
    monkeypatch.setattr("sys.executable", str(bare.path))
    found = faults(check_own_python())
    texts = {one.text.partition(":")[0]: one for one in found}
    assert texts["cv2"].fix.endswith("-m pip install 'numpy<2'")
    assert texts["cv2"].level == Level.PROBLEM
    assert texts["no node can run"].fix.startswith("source ROS 2 first")
    assert texts["rosbags cannot be read"].level == Level.WARNING
    assert "'ai-edge-litert>=2.1,<3'" in texts["fl_perception and fl_predict cannot run"].fix
    assert texts["lz4 is 3.1, which nobody tried"].fix == "install lz4>=4.0"
    assert any(one.text.startswith("numpy, PyYAML, rich are not installed") for one in found)


def test_a_worker_that_cannot_learn_is_told(
    bare: BarePython, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ClientSettings(worker_python=str(bare.path))
    [found] = check_worker(settings)
    assert found.text.startswith(f"this robot cannot learn: worker_python {bare.path}, Python 3")
    # A Python 3.10 is too old for Flower.
    assert found.fix.startswith(
        (f"install with: {bare.path} -m pip install 'flwr", "give learning a virtual environment")
    )
    with pytest.raises(SettingError, match="worker_python is '/none', which is not a program"):
        list(check_worker(ClientSettings(worker_python="/none")))
    # All packages are there, and one of them does not load.
    monkeypatch.setattr("fl_robot_ros.robot.worker_python.WorkerPython.check", lambda _: "")
    monkeypatch.setattr(packages, "_WORKER_MODULES", ("tensorflow",))
    [found] = check_worker(settings)
    assert found.text.endswith("cannot load tensorflow: No module named 'tensorflow'")
