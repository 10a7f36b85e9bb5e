import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_until

from fl_robot_ros.ros.parent import END_WITH_PARENT

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "fl_robot_ros.nodes.perception"],
                         stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
print(child.pid, flush=True)
child.wait()
"""

_SIGNALLED = """
import os, signal, sys
from rclpy.node import Node
from fl_robot_ros.nodes.client import COMMAND
from fl_robot_ros.ros.lifetime import run_node

class Signalled(Node):
    @property
    def finished(self):  # looked at when the node is made and does not spin yet
        os.kill(os.getpid(), signal.SIGTERM)

print([run_node(COMMAND, lambda: Signalled("signalled"), []) for _ in range(20)])
"""


def is_running(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def orphan(env: dict[str, str], log: Path) -> Iterator[int]:
    """Start a node whose parent is killed as soon as it is up; yield its process."""
    command = [sys.executable, "-c", _PARENT, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            wait_until(lambda: "waiting for a model" in log.read_text(), "the node is up")
            parent.kill()
            yield pid
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_node_of_launch_ends_when_its_parent_is_gone(
    ros_env: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "node.log"
    with orphan({**ros_env, END_WITH_PARENT: "1"}, log) as pid:
        wait_until(lambda: not is_running(pid), "the node ends")
    assert "the parent process is gone" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_node_of_a_shell_outlives_the_shell(ros_env: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    with orphan(ros_env, log) as pid:
        # Long after the parent is gone: the camera is missed after 10 s.
        wait_until(lambda: "no frame on" in log.read_text(), "the node goes on")
        os.kill(pid, signal.SIGINT)
        wait_until(lambda: not is_running(pid), "the node ends")
    assert "ending: SIGINT" in log.read_text()


def test_a_signal_that_comes_before_the_node_spins_ends_it(ros_env: dict[str, str]) -> None:
    command = [sys.executable, "-c", _SIGNALLED]
    done = subprocess.run(
        command, env=ros_env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{[0] * 20}\n", "")
