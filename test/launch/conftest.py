"""Fixtures of the launch tests."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from launch_process import Launch

pytest.importorskip("rclpy", reason="needs rclpy: ROS 2 or PyPI's ROS wheels")

from ros_fixtures import peer, ros_env

__all__ = ["ament_prefix", "peer", "ros_env", "start_launch"]

ROOT = Path(__file__).parents[2]
PACKAGE = "fl_robot_ros"
StartLaunch = Callable[..., Launch]


@pytest.fixture(scope="session")
def ament_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as colcon would install it, with this interpreter's executables."""
    prefix = tmp_path_factory.mktemp("prefix")
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / PACKAGE
    marker.parent.mkdir(parents=True)
    marker.touch()
    share = prefix / "share" / PACKAGE
    share.mkdir()
    for name in ("launch", "config", "package.xml"):
        (share / name).symlink_to(ROOT / name)
    executables = prefix / "lib" / PACKAGE
    executables.mkdir(parents=True)
    for node in ("client", "perception", "streamer"):
        script = executables / f"fl_{node}"
        script.write_text(
            f"#!{sys.executable}\n"
            f"import sys\n"
            f"from {PACKAGE}.nodes.{node} import main\n"
            f"sys.exit(main())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return prefix


@pytest.fixture
def start_launch(
    ament_prefix: Path, ros_env: dict[str, str], tmp_path: Path
) -> Iterator[StartLaunch]:
    """Return a function that starts a launch file of the package with arguments."""
    started: list[Launch] = []

    def start(
        name: str | Path,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **arguments: object,
    ) -> Launch:
        paths = [str(ament_prefix), os.environ.get("AMENT_PREFIX_PATH", "")]
        variables = {
            **(env or ros_env),
            "AMENT_PREFIX_PATH": ":".join(filter(None, paths)),
            "HOME": str(tmp_path),
        }
        # A path of a test's own file stays as it is.
        file = ament_prefix / "share" / PACKAGE / "launch" / name
        pairs = [f"{key}:={value}" for key, value in arguments.items()]
        log = tmp_path / f"{file.name}-{len(started)}.log"
        started.append(Launch(file, pairs, variables, log, prefix))
        return started[-1]

    yield start
    for launch in started:
        launch.close()
