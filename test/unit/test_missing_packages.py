"""A package that is missing costs the command that needs it one line, and others nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bag_recorder import drive, record
from bare_python import BarePython

WriteVersion = Callable[..., Path]

NODES = ("client", "perception", "streamer", "viewer")
COMMANDS = (*NODES, "server", "keys", "predict", "dataset", "demo")
BAG_LINE = "rosbags, apsw, lz4, backports.zstd are not installed for "


def call(python: BarePython, command: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command as its console script does; return exit code, output and errors."""
    program = f"import sys; from fl_robot_ros.cli.start import {command}; sys.exit({command}())"
    done = python.run(["-c", program, *arguments])
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> BarePython:
    """A Python without any package."""
    return BarePython(tmp_path_factory.mktemp("nothing") / "venv")


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> BarePython:
    """A Python with what apt gives a robot."""
    python = BarePython(tmp_path_factory.mktemp("robot") / "venv")
    python.take("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs", "yaml", "rich")
    return python


@pytest.mark.parametrize("command", COMMANDS)
def test_without_any_package_each_command_says_in_one_line_what_to_do(
    nothing: BarePython, command: str
) -> None:
    code, output, errors = call(nothing, command)
    assert code == 1
    assert output == ""
    [line] = errors.splitlines()
    assert line.startswith(f"fl_{command}: ")
    assert "install with: " in line or "source ROS 2 first" in line


def test_the_doctor_needs_none_and_names_all_that_are_missing(
    nothing: BarePython, tmp_path: Path
) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("/**/fl_client:\n  ros__parameters: {data_dir: /tmp}")
    code, output, errors = call(nothing, "doctor", f"--params={file}")
    assert (code, errors) == (1, "")
    for text in (
        f"numpy, opencv-python-headless, PyYAML, rich are not installed for {nothing.path}",
        f"rosbags cannot be read: {BAG_LINE}",
        "this robot cannot learn: ",
        "no node can run: there is no rclpy",
        "the checks of ROS were left out",
        "the check 'file' was left out: PyYAML is not installed",
        "nobody names a server",
    ):
        assert text in output
    assert "Traceback" not in output


# Wrong settings are told first.
SERVER = ("--classes", "cat", "dog")


@pytest.mark.parametrize(("command", "arguments"), [("server", SERVER), ("demo", ())])
def test_what_learns_names_all_that_it_lacks(
    robot: BarePython, command: str, arguments: tuple[str, ...]
) -> None:
    code, _, errors = call(robot, command, *arguments)
    assert code == 1
    [line] = errors.splitlines()
    assert line.startswith(f"fl_{command}: flwr, tensorflow, keras, ai-edge-litert")
    if sys.version_info >= (3, 11):  # noqa: UP036
        advice = f"install with: {robot.path} -m pip install 'flwr>=1.41,<1.43' 'tensorflow>="
    else:
        advice = "give learning a virtual environment (README, On a robot, step 2)"
    assert advice in line


def test_keys_need_what_flower_brings(robot: BarePython) -> None:
    code, _, errors = call(robot, "keys", "list")
    assert code == 1
    [line] = errors.splitlines()
    assert line.startswith("fl_keys: there is no cryptography, which Flower brings; give learning")


def test_bags_need_packages_and_images_do_not(robot: BarePython, tmp_path: Path) -> None:
    bag = record(tmp_path / "drive", drive(3))
    images = tmp_path / "images" / "pallet"
    images.mkdir(parents=True)
    program = "import cv2, numpy, sys; cv2.imwrite(sys.argv[1], numpy.zeros((8, 8), 'uint8'))"
    assert robot.run(["-c", program, str(images / "a.png")]).returncode == 0
    data = f"--dataset={tmp_path / 'data'}"
    code, output, errors = call(robot, "dataset", "import", data, str(bag), str(images.parent))
    assert code == 1
    [line] = errors.splitlines()
    assert line.startswith(f"fl_dataset: {BAG_LINE}{robot.path}; install with: ")
    assert "1 new image: pallet 1" in output
    code, output, _ = call(robot, "dataset", "info", data)
    assert code == 0
    assert "1 labelled image with 1 label" in output


def test_tfrecords_need_tensorflow_and_nothing_is_written_without(
    robot: BarePython, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from fl_robot_ros.dataset.dataset import Dataset; "
        "Dataset(Path(sys.argv[1])).close()"
    )
    assert robot.run(["-c", program, str(tmp_path / "data")]).returncode == 0
    arguments = [f"--dataset={tmp_path / 'data'}", f"--to={tmp_path / 'out'}"]
    code, output, errors = call(robot, "dataset", "export", "--format=tfrecord", *arguments)
    assert (code, output) == (1, "")
    [line] = errors.splitlines()
    assert line.startswith("fl_dataset: tensorflow, tensorflow-datasets are not installed for ")
    assert not (tmp_path / "out").exists()


def test_without_litert_the_line_leaves_the_robots_numpy_alone(
    robot: BarePython, tmp_path: Path, write_version: WriteVersion
) -> None:
    folder = write_version()
    code, _, errors = call(robot, "predict", f"--model={folder}", f"--images={tmp_path}")
    assert code == 1
    [line] = errors.splitlines()
    assert line.startswith(f"fl_predict: ai-edge-litert is not installed for {robot.path}; ")
    assert line.endswith(f"{robot.path} -m pip install --no-deps 'ai-edge-litert>=2.1,<3'")


def test_a_broken_package_is_named(tmp_path: Path) -> None:
    broken = BarePython(tmp_path / "venv")
    broken.take("rich")
    # As the OpenCV of Ubuntu 22.04 does beside NumPy 2.
    (broken.site / "numpy.py").write_text(
        "raise ImportError('numpy.core.multiarray failed to import')"
    )
    code, _, errors = call(broken, "predict")
    assert code == 1
    [line] = errors.splitlines()
    assert "numpy.core.multiarray failed to import; " in line
    assert line.endswith(f"{broken.path} -m pip install 'numpy<2'")


@pytest.mark.parametrize("node", NODES)
def test_a_node_loads_no_package_that_only_bags_need(node: str) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy: ROS 2 or PyPI's ROS wheels")
    program = (
        f"import sys, fl_robot_ros.nodes.{node}\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {*done.stdout.split()} & {"rosbags", "apsw", "lz4", "backports"} == set()
