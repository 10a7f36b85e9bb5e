import os
import signal
import subprocess
import sys
from pathlib import Path

from waiting import wait_until

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "fl_robot_ros.nodes.perception"],
                         stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
print(child.pid, flush=True)
child.wait()
"""


def is_running(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_ends_when_its_parent_is_gone(ros_env: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    command = [sys.executable, "-c", _PARENT, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ros_env, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            wait_until(lambda: "waiting for a model" in log.read_text(), "the node is up")
            parent.kill()
            wait_until(lambda: not is_running(pid), "the node ends", timeout_sec=10.0)
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
    assert "the parent process is gone" in log.read_text()
    assert "Traceback" not in log.read_text()
