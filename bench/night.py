"""A night of a fleet in a minute or two: nobody calls anything, and the log reads like a story.

A real `fl_server` with a `schedule`, three real `fl_client` that learn by themselves, and the
topics of three robots over DDS, which this script plays: they drive, come to their docks, and are
charged. While they learn, one of them is sent away for some seconds. Each has a bag of what its
camera saw. The rules are those of docs/autonomy.md with seconds for minutes.

    .venv/bin/python bench/night.py
    .venv/bin/python bench/night.py --keep build/night     # leaves logs and data there
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "parts"))

from action_msgs.msg import GoalStatus
from child import busy_sec
from diagnostic_msgs.msg import DiagnosticStatus
from fleet import free_port, server
from geometry_msgs.msg import Twist
from robot_topics import FakeAction, Repeater, battery, velocity
from ros_process import NodeProcess, Peer
from rules import quiet_after_sec
from sensor_msgs.msg import BatteryState

from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.demo.recording import record_bag
from fl_robot_ros.demo.ros_domain import private_ros_domain
from fl_robot_ros.demo.scene import Scene
from fl_robot_ros.ros.qos import LATCHED

COLUMNS = 96
PATIENCE_SEC = 180.0
# Which signs each robot's camera meets: all but triangles, all but circles, all.
SPLIT_OF = {"r1": "robot1", "r2": "robot2", "r3": "test"}
IMAGES, SIZE_PX = 240, 24
START_NS = 1_700_000_000_000_000_000
# Seconds from the start of all to the run, and of the goal.
UNTIL_RUN_SEC, GOAL_SEC = 40, 5.0
LEARN_WHILE = ["charging for 3 s", "battery >= 0.4", "still for 3 s", "no_goal for 3 s"]
CHARGING = BatteryState.POWER_SUPPLY_STATUS_CHARGING
DISCHARGING = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
EXECUTING, SUCCEEDED = GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_SUCCEEDED
NODE_LINE = re.compile(r"\[(?P<level>[A-Z]+)\] \[[0-9.]+\] \[[^]]*\]: (?P<text>.*)")
SERVER_LINE = re.compile(r"[0-9:]{8}  (?P<text>.*)")


class Story:
    """The lines of all, as they come: time, who, what."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Path, int]] = {}
        self._partial: dict[str, str] = {}

    def follow(self, who: str, log: Path) -> None:
        """Tell the lines of a log from now on."""
        self._files[who] = log, 0

    def tell(self, who: str, what: str) -> None:
        """Print a line now."""
        begin = f"{time.strftime('%H:%M:%S')}  {who:<7} "
        lines = textwrap.wrap(what, COLUMNS - len(begin)) or [""]
        print(begin + f"\n{' ' * len(begin)}".join(lines), flush=True)

    def go_on(self) -> None:
        """Tell what was written since the last call."""
        for who, (log, place) in self._files.items():
            with log.open(encoding="utf-8", errors="replace") as file:
                file.seek(place)
                text = self._partial.get(who, "") + file.read()
                self._files[who] = log, file.tell()
            *lines, self._partial[who] = text.split("\n")
            for line in lines:
                self.tell(who, self._shorten(line))

    def _shorten(self, line: str) -> str:
        """Return a line without its own time, node and level INFO."""
        if found := NODE_LINE.fullmatch(line):
            level = found["level"]
            return found["text"] if level == "INFO" else f"{level} {found['text']}"
        found = SERVER_LINE.fullmatch(line)
        return found["text"] if found else line

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SEC) -> None:
        """Tell the story until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            self.go_on()
            if time.monotonic() > end:
                raise SystemExit(f"waited {seconds:g} s in vain: {what}")
            time.sleep(0.02)

    def let_pass(self, seconds: float) -> None:
        """Tell the story for some time."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end, "the time")


class Robot:
    """A robot's topics, its `fl_client`, and what that says."""

    def __init__(self, name: str, folder: Path, port: int, story: Story) -> None:
        self.name, self.data_dir, self._story = name, folder / name, story
        self._peer = Peer(f"topics_of_{name}")
        self._charge, self._status, self._speed = 0.62, DISCHARGING, 0.3
        self.values: dict[str, str] = {}
        self.state = ""
        self.pauses = 0
        self._peer.node.create_subscription(
            DiagnosticStatus, f"{name}/fl/status", self._take, LATCHED
        )
        Repeater(self._peer, BatteryState, f"{name}/battery_state", self._battery, 0.2)
        Repeater(self._peer, Twist, f"{name}/cmd_vel", lambda: velocity(Twist, self._speed))
        self._action = FakeAction(self._peer, f"{name}/navigate_to_pose")
        self._action.publish(EXECUTING)
        now = datetime.now()
        first, last = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 2))
        values = {
            "data_dir": self.data_dir,
            "server_address": f"127.0.0.1:{port}",
            "worker_threads": 1,
            "bag_paths": f"[{folder / name}.bag]",
            "sample_rate_hz": 1000.0,
            "queue_size": 1000,
            "segment_sec": 1.0,
            "split_gap_sec": 0.1,
            "review_pool_size": 0,
            "learn": "auto",
            "learn_when": [
                *("new_samples >= 200", "hours_since_run >= 6", f"clock in {first}-{last}"),
            ],
            "learn_while": LEARN_WHILE,
            "action_names": ["navigate_to_pose"],
            "motion_topics": ["cmd_vel"],
        }
        log = folder / f"{name}.log"
        module, namespace = "fl_robot_ros.nodes.client", ("-r", f"__ns:=/{name}")
        self.node = NodeProcess(module, values, log, os.environ, namespace)
        story.follow(name, log)

    def _take(self, message: DiagnosticStatus) -> None:
        self.pauses += message.message == "paused" != self.state
        self.values = {item.key: item.value for item in message.values}
        self.state = message.message

    def _battery(self) -> BatteryState:
        return battery(self._charge, self._status)

    @property
    def version(self) -> str:
        """The current model version."""
        current = ModelStore(self.data_dir / "models", 1).current()
        return current.name if current else "none"

    @property
    def worker_pid(self) -> int:
        """The worker's process."""
        for entry in Path("/proc").iterdir():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(parent) == self.node.process.pid and "worker.worker" in command:
                return int(entry.name)
        raise SystemExit(f"{self.name} has no worker")

    def dock(self) -> None:
        """End the goal, stand still and be charged."""
        self._action.publish(SUCCEEDED)
        self._speed, self._status = 0.0, CHARGING
        self._story.tell(self.name, "* reaches its dock: no goal, stands still, is charged")

    def be_sent_away(self) -> float:
        """Take a goal, leave the dock and drive; return the monotonic time in s of the goal."""
        self._story.tell(self.name, "* is sent away: a goal of navigate_to_pose")
        at = self._action.publish(EXECUTING)
        self._speed, self._status = 0.3, DISCHARGING
        return at

    def close(self) -> None:
        """End node and topics."""
        self.node.close()
        self._peer.close()


def play(folder: Path) -> None:
    """Play the night, and print its story and what it came to."""
    story, port = Story(), free_port()
    for name, split in SPLIT_OF.items():
        frames = Scene("shapes").frames(split, IMAGES, 0)
        record_bag(folder / f"{name}.bag", frames, compressed=True, start_ns=START_NS)
    begin = datetime.now() + timedelta(seconds=UNTIL_RUN_SEC)
    settings = {
        "schedule": [f"{begin:%-S %-M %-H} * * *"],  # with seconds, in front
        "min_nodes": 2,
        "gather_sec": 20.0,
        "num_rounds": 5,
        "local_epochs": 15,
        "learning_rate": 0.001,
        "classes": list(Scene("shapes").classes),
        "input_height": SIZE_PX,
        "input_width": SIZE_PX,
        "input_channels": 1,
    }
    with ExitStack() as stack:
        stack.enter_context(server(folder / "server", port, **settings))
        story.follow("server", folder / "server.log")
        robots = [Robot(name, folder, port, story) for name in SPLIT_OF]
        for robot in robots:
            stack.callback(robot.close)
        versions = {robot.name: robot.version for robot in robots}
        story.wait(lambda: all(robot.state for robot in robots), "the robots")
        story.let_pass(4.0)
        for robot in robots:
            robot.dock()
            story.let_pass(3.0)
        one = robots[1]
        story.wait(
            lambda: one.state == "training" and int(one.values["round"]) >= 2, "its second round"
        )
        pid = one.worker_pid
        share_before = busy_share(pid, 1.0, story)
        quiet_sec = quiet_after_sec(pid, one.be_sent_away())
        story.wait(lambda: one.state == "paused", "the pause")
        share = busy_share(pid, GOAL_SEC, story)
        one.dock()
        story.wait(
            lambda: all("finished" in robot.values["detail"] for robot in robots), "the end"
        )
        story.let_pass(2.0)
        print()
        for robot in robots:
            report(robot, versions[robot.name])
        print(
            f"{one.name}: its worker used {share_before:.0%} of a core, stood "
            f"{quiet_sec * 1000:.0f} ms after the goal, and used {share:.1%} then"
        )


def busy_share(pid: int, seconds: float, story: Story) -> float:
    """Let some time pass; return what a process used of a core in it."""
    used_sec, since = busy_sec(pid), time.monotonic()
    story.let_pass(seconds)
    return (busy_sec(pid) - used_sec) / (time.monotonic() - since)


def report(robot: Robot, version_before: str) -> None:
    """Print what a robot's night came to."""
    journal = json.loads((robot.data_dir / "learning.json").read_text())
    weeks = "; ".join(
        f"{week}: " + ", ".join(f"{runs} {shape}" for shape, runs in shapes.items())
        for week, shapes in journal["runs_by_week"].items()
    )
    print(
        f"{robot.name}: model {version_before} -> {robot.version}, accuracy "
        f"{robot.values['accuracy']}, pauses {robot.pauses}"
    )
    print(f"    learning.json: {len(journal['verdicts'])} verdicts; runs of {weeks}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="new folder of logs and data")
    keep = parser.parse_args().keep
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with private_ros_domain() as variables:
            os.environ.update(variables)
            play(folder)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
