"""Whether the Python that the user names can run a worker."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from bare_python import BarePython
from needed_packages import learns

from fl_robot_ros.data_source import SourceKind
from fl_robot_ros.errors import SettingError
from fl_robot_ros.robot.worker_python import WorkerPython

CAPTURE = SourceKind.CAPTURE


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@learns
def test_the_python_of_these_tests_can_run_a_worker() -> None:
    python = WorkerPython("", CAPTURE)
    assert python.known_problem() == ""
    assert python.check() == ""
    assert python.known_problem() == ""


@pytest.mark.parametrize("name", ["absent/bin/python", "folder", "plain.txt"])
def test_what_is_no_program_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain.txt").write_text("not executable")
    with pytest.raises(SettingError, match=r"^worker_python is '.*', which is not a program; "):
        WorkerPython(str(tmp_path / name), CAPTURE)


@learns
def test_all_that_is_missing_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    bare = BarePython(tmp_path / "venv")
    bare.take("numpy*")
    python = WorkerPython(str(bare.path), CAPTURE)
    assert python.known_problem() == ""  # Nobody has asked yet.
    problem = python.check()
    assert python.known_problem() == problem
    lacking = "flwr, tensorflow, keras, ai-edge-litert, opencv-python-headless"
    assert f"lacks {lacking}; " in problem
    assert problem.endswith(
        f"install with: {bare.path} -m pip install 'flwr>=1.41,<1.43' 'tensorflow>=2.21,<2.22' "
        "'keras>=3.13' 'ai-edge-litert>=2.1,<3' 'opencv-python-headless>=4.5.4'"
    )
    # The command was followed: neither the old answer nor a restart stands in the way.
    bare.take_all()
    assert python.known_problem() == ""
    assert python.check() == ""


@learns
def test_what_a_source_needs_is_asked_for_too(tmp_path: Path) -> None:
    bare = BarePython(tmp_path / "venv")
    assert "flwr-datasets" in WorkerPython(str(bare.path), SourceKind.HUB).check()
    assert "tensorflow-datasets" in WorkerPython(str(bare.path), SourceKind.TFDS).check()
    assert "datasets" not in WorkerPython(str(bare.path), SourceKind.FOLDER).check()


@pytest.mark.parametrize(
    ("version", "fits"),
    [("1.40.2", False), ("1.41.0", True), ("1.42.9.post1", True), ("1.43.0", False)],
)
def test_a_version_out_of_bounds_is_named(tmp_path: Path, version: str, fits: bool) -> None:
    bare = BarePython(tmp_path / "venv")
    bare.take(
        "numpy*", "yaml", "pyyaml*", "cv2", "opencv_*", "keras*", "tensorflow*", "ai_edge_litert*"
    )
    (bare.site / "flwr").mkdir()
    (bare.site / "flwr" / "__init__.py").touch()
    facts = bare.site / f"flwr-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flwr\nVersion: {version}\n")
    (facts / "top_level.txt").write_text("flwr\n")
    problem = WorkerPython(str(bare.path), CAPTURE).check()
    if fits:
        assert problem == ""
    else:
        assert f" has flwr {version}; install with: {bare.path} -m pip install " in problem
        assert problem.endswith(" 'flwr>=1.41,<1.43'")


def test_an_old_python_and_one_of_the_system_are_told_to_make_an_environment(
    tmp_path: Path,
) -> None:
    answer = '{"python": [3, %d, 1], "is_venv": false, "places": [], "versions": {}}'
    old = script(tmp_path / "old", f"echo '{answer % 10}'")
    problem = WorkerPython(old, CAPTURE).check()
    assert "Python 3.10.1, is too old for Flower, which needs 3.11; give learning a" in problem
    assert "virtual environment (README, On a robot, step 2) and set worker_python" in problem
    system = script(tmp_path / "system", f"echo '{answer % 12}'")
    problem = WorkerPython(system, CAPTURE).check()
    assert "lacks flwr, " in problem
    assert problem.endswith("step 2) and set worker_python to its bin/python")
    assert "pip install" not in problem


@pytest.mark.parametrize("text", ["exit 1", "echo hello", "echo nonsense >&2; exit 3"])
def test_what_does_not_answer_is_asked_again(tmp_path: Path, text: str) -> None:
    python = WorkerPython(script(tmp_path / "odd", text), CAPTURE)
    problem = python.check()
    assert f"{tmp_path / 'odd'} does not run as Python does: " in problem
    assert "\n" not in problem
    assert ("nonsense" in problem) == ("nonsense" in text)
    # A robot that was short of memory for a moment is not refused for ever.
    assert python.known_problem() == ""


def test_a_check_ends_when_it_is_stopped(tmp_path: Path) -> None:
    python = WorkerPython(
        script(tmp_path / "slow", f"touch {tmp_path}/runs; exec sleep 1000"), CAPTURE
    )
    checking = threading.Thread(target=python.check)
    checking.start()
    while not (tmp_path / "runs").exists():
        checking.join(0.02)
    python.stop()
    checking.join(30)
    assert not checking.is_alive()
