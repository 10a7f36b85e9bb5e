"""How fast a robot yields, what its rules cost, and whether they ever err.

A real `fl_client`, server and worker (test/parts) in a ROS domain of their own, and a robot's
topics, which this script publishes.

    .venv/bin/python bench/rules.py pause --times 20
    .venv/bin/python bench/rules.py cost --seconds 30
    .venv/bin/python bench/rules.py chaos --seconds 300 --seed 1

`pause` publishes a goal during training and takes the time until the worker uses less than 5 % of
a core, and from the goal's end until it trains again. `cost` compares a node without rules with
one that has all of them, and with the topics of a robot. `chaos` lets topics come, go, restart and
lie, and compares what the robot does with what it should do.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "parts"))

from action_msgs.msg import GoalStatus
from child import Child, usage_by_command
from diagnostic_msgs.msg import DiagnosticStatus
from fleet import free_port, make_robot, server
from geometry_msgs.msg import Twist, TwistStamped
from robot_topics import FakeAction, Odometry, Repeater, battery, velocity
from ros_process import NodeProcess, Peer
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from waiting import wait_until

from fl_robot_ros.demo.ros_domain import private_ros_domain
from fl_robot_ros.ros.qos import LATCHED

PATIENCE_SEC = 120.0
CHARGING = BatteryState.POWER_SUPPLY_STATUS_CHARGING
DISCHARGING = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
EXECUTING, SUCCEEDED = GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_SUCCEEDED
ALL_RULES = (
    *("charging for 30 s", "battery >= 0.4", "still for 60 s", "no_goal for 60 s"),
    *("temperature <= 80", "free_memory_mb >= 1500", "free_disk_mb >= 1000", "topic fl/may_learn"),
)
# What the robot may take to notice, in s: a message and a look at the graph; for charge and
# charging a second more, which a rule is allowed to fail; silence is noticed after its timeout.
NOTICE_SEC, PATIENT_SEC, TIMEOUT_SEC = 1.0, 1.0, 2.0


class Robot:
    """A robot's `fl_client` as seen from outside, and its topics."""

    def __init__(self, folder: Path, port: int, **parameters: Any) -> None:
        self.folder = folder
        make_robot(folder / "robot", ["red", "green", "blue"], images=240)
        values = {
            "data_dir": folder / "robot",
            "robot_name": "robot",
            "server_address": f"127.0.0.1:{port}",
            "connect_timeout_sec": 60.0,
            "worker_threads": 1,
            "pause_max_sec": 3600.0,
            "min_samples": 2,
            **parameters,
        }
        self.peer = Peer("robot_topics")
        # When each status came, and the status.
        self.statuses: list[tuple[float, dict[str, str]]] = []
        self.peer.node.create_subscription(DiagnosticStatus, "fl/status", self._take, LATCHED)
        module = "fl_robot_ros.nodes.client"
        self.node = NodeProcess(module, values, folder / "client.log", os.environ)

    def _take(self, message: DiagnosticStatus) -> None:
        values = {item.key: item.value for item in message.values}
        self.statuses.append((time.monotonic(), {**values, "state": message.message}))

    @property
    def state(self) -> str:
        """The state on fl/status; "" before the first."""
        return self.statuses[-1][1]["state"] if self.statuses else ""

    @property
    def worker_pid(self) -> int:
        """The worker's process."""
        for entry in Path("/proc").iterdir():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_text()
            except (OSError, ValueError):
                continue
            if int(fields[1]) == self.node.process.pid and "worker.worker" in command:
                return int(entry.name)
        raise AssertionError("there is no worker")

    def start_round(self) -> str:
        """Call fl/start_round; return the reply."""
        client = self.peer.node.create_client(Trigger, "fl/start_round")
        assert client.wait_for_service(60.0)
        future = client.call_async(Trigger.Request())
        wait_until(future.done, "the reply", PATIENCE_SEC)
        return str(future.result().message)

    def close(self) -> None:
        """End the node and its topics."""
        self.node.close()
        self.peer.close()


@contextmanager
def robot_and_server(folder: Path, **parameters: Any) -> Iterator[Robot]:
    """Run a robot and a server that lets it train for hours."""
    port = free_port()
    long = {
        "continuous": True,
        "min_nodes": 1,
        "num_rounds": 1,
        "local_epochs": 10000,
        "round_timeout_sec": 36000.0,
    }
    with server(folder / "state", port, **long):
        robot = Robot(folder, port, **parameters)
        try:
            yield robot
        finally:
            robot.close()


def cpu_sec(pid: int) -> float:
    """Return the processor time of a process so far, in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quiet_after_sec(pid: int, start: float) -> float:
    """Watch a process; return when, after a start, it used less than 5 % of a core for 0.5 s."""
    samples = [(time.monotonic(), cpu_sec(pid))]
    while True:
        time.sleep(0.005)
        samples.append((time.monotonic(), cpu_sec(pid)))
        while samples[-1][0] - samples[0][0] > 0.5:
            if samples[-1][1] - samples[0][1] <= 0.025:
                return samples[0][0] - start
            samples.pop(0)


def measure_pause(folder: Path, options: argparse.Namespace) -> None:
    """Print how fast the robot yields to a goal, and goes on."""
    with robot_and_server(folder, learn_while=["no_goal"]) as robot:
        action = FakeAction(robot.peer, "navigate_to_pose")
        action.publish(SUCCEEDED)
        wait_until(lambda: robot.statuses, "the node", PATIENCE_SEC)
        while not (reply := robot.start_round()).startswith("run started"):
            time.sleep(0.5)
        print(reply, flush=True)
        wait_until(lambda: robot.state == "training", "training", PATIENCE_SEC)
        pid = robot.worker_pid
        times: dict[str, list[float]] = {"told": [], "quiet": [], "resumed": []}
        for _ in range(options.times):
            time.sleep(random.uniform(0.5, 1.5))
            start = action.publish(EXECUTING)
            times["quiet"].append(quiet_after_sec(pid, start))
            wait_until(lambda: robot.state == "paused", "the pause", PATIENCE_SEC)
            times["told"].append(robot.statuses[-1][0] - start)
            time.sleep(random.uniform(0.5, 1.5))
            start = action.publish(SUCCEEDED)
            wait_until(lambda: robot.state == "training", "the resumption", PATIENCE_SEC)
            at = next(
                at for at, values in reversed(robot.statuses) if values["state"] == "training"
            )
            times["resumed"].append(at - start)
        for name, seconds in times.items():
            # Keras may still be building the function of the first batch at the first pause.
            print(
                f"{name}: median {statistics.median(seconds) * 1000:.0f} ms, first "
                f"{seconds[0] * 1000:.0f} ms, longest of the others {max(seconds[1:]) * 1000:.0f} "
                f"ms, of {len(seconds)}"
            )


def measure_cost(folder: Path, options: argparse.Namespace) -> None:
    """Print what an idle node costs without rules, with rules, and with a robot's topics."""
    peer = Peer("robot_topics")
    for name, rules in (("without rules", []), ("with eight rules", ALL_RULES)):
        for publishes in (False, True):
            if publishes and not rules:
                continue
            topics = list(_all_topics(peer)) if publishes else []
            command = [sys.executable, "-m", "fl_robot_ros.nodes.client", "--ros-args"]
            command += ["-p", f"data_dir:={folder / name.replace(' ', '_')}"]
            if rules:
                command += ["-p", f"learn_while:={list(rules)}", "-p", "learn:=suggest"]
                command += ["-p", "learn_when:=['new_samples >= 200', 'hours_since_run >= 6']"]
                command += ["-p", "motion_topics:=[cmd_vel, odom]"]
            child = Child(command, folder / "client.log")
            time.sleep(8.0)
            start = time.monotonic()
            before = usage_by_command(child.pid, {"": "all"})["all"]
            time.sleep(options.seconds)
            after = usage_by_command(child.pid, {"": "all"})["all"]
            seconds = time.monotonic() - start
            share = (after.cpu_sec - before.cpu_sec) / seconds
            what = f"{name}{', battery 1 Hz, cmd_vel 20 Hz, odom 30 Hz' if publishes else ''}"
            print(f"{what}: {share:.2%} of a core, {after.memory_mb:.1f} MB", flush=True)
            child.stop()
            for topic in topics:
                topic.stop()
    peer.close()


def _all_topics(peer: Peer) -> Iterator[Any]:
    """Publish what a robot with Nav2 does while it drives."""
    yield Repeater(peer, BatteryState, "battery_state", lambda: battery(0.8), 1.0)
    yield Repeater(peer, Twist, "cmd_vel", lambda: velocity(Twist, 0.2), 0.05)
    yield Repeater(peer, Odometry, "odom", lambda: velocity(Odometry, 0.2), 1 / 30)
    for name in ("navigate_to_pose", "navigate_through_poses", "follow_waypoints"):
        action = FakeAction(peer, name)
        action.publish(SUCCEEDED)
        yield action


class Topics:
    """A robot's topics in chaos, and why it must not learn, by signal, since when."""

    def __init__(self, peer: Peer, other: Peer, dice: random.Random) -> None:
        self._peer, self._other, self._dice = peer, other, dice
        self._charge, self._status, self._present = 0.8, CHARGING, True
        self._counts_percent = False
        self._speed = 0.0
        self._power: Repeater | None = None
        self._drive: Repeater | None = None
        self._stamped: Repeater | None = None
        self._action: FakeAction | None = None
        self._permission: Any = None
        self._said = False
        self._has_goal = False
        self.wrong_since: dict[str, float] = {}
        self.changes = 0
        for act in (self._toggle_power, self._toggle_drive, self._restart_action, self._permit):
            act()

    def change(self) -> str:
        """Do something to the topics; return its name."""
        acts: list[Callable[[], None]] = [
            *(self._toggle_power, self._lie, self._charge_more, self._charge_more),
            *(self._toggle_drive, self._change_speed, self._change_speed, self._toggle_stamped),
            *(self._restart_action, self._change_goal, self._change_goal, self._crash),
            *(self._permit, self._permit, self._forbid, self._lose_permission),
            *(self._heal, self._heal, self._heal, self._heal, self._heal, self._heal),
        ]
        act = self._dice.choice(acts)
        act()
        self.changes += 1
        self.note()
        return act.__name__

    def note(self) -> None:
        """Note which signals forbid learning now."""
        now = time.monotonic()
        share = self._charge / (100.0 if self._counts_percent else 1.0)
        is_sane = self._present and 0.0 <= share <= 1.0
        wrong = {
            "silent battery": self._power is None,
            "battery": self._power is not None and not (is_sane and share >= 0.35),
            "charging": self._power is not None and not (is_sane and self._status == CHARGING),
            "still": self._drive is not None and not abs(self._speed) < 0.01,
            "no_goal": self._has_goal,
            "topic": not self._said,
            "two types": self._drive is not None and self._stamped is not None,
        }
        for name, is_wrong in wrong.items():
            if not is_wrong:
                self.wrong_since.pop(name, None)
            else:
                self.wrong_since.setdefault(name, now)

    def wrong_for_sec(self, name: str, now: float) -> float:
        """Return for how long a signal forbids learning, beyond what the robot may take for it."""
        since = self.wrong_since.get(name)
        if since is None:
            return 0.0
        extra = {"silent battery": TIMEOUT_SEC + NOTICE_SEC, "battery": PATIENT_SEC}
        extra["charging"] = PATIENT_SEC
        return now - since - NOTICE_SEC - extra.get(name, 0.0)

    def _message(self) -> Any:
        message = battery(self._charge, self._status)
        message.present = self._present
        return message

    def _toggle_power(self) -> None:
        if self._power is None:
            self._power = Repeater(self._peer, BatteryState, "battery_state", self._message)
        else:
            self._power.stop()
            self._power = None

    def _lie(self) -> None:
        lies = (math.nan, -1.0, 130.0, 0.0, math.inf)
        self._charge = self._dice.choice(lies)
        self._present = self._dice.random() < 0.7

    def _charge_more(self) -> None:
        # Most of the time in per cent, once one was seen: the robot takes all for per cent then.
        self._charge = self._dice.choice((0.8, 0.3, 80.0, 30.0))
        if self._charge > 1.0 and self._power is not None:
            self._counts_percent = True
        self._status = self._dice.choice((CHARGING, CHARGING, DISCHARGING))
        self._present = True

    def _toggle_drive(self) -> None:
        if self._drive is None:
            self._drive = Repeater(self._peer, Twist, "cmd_vel", self._velocity)
        else:
            self._drive.stop()
            self._drive = None

    def _velocity(self) -> Any:
        return velocity(Twist, self._speed)

    def _toggle_stamped(self) -> None:
        """Publish the other type too, for which learning is not allowed either."""
        if self._stamped is None:
            self._stamped = Repeater(
                self._other, TwistStamped, "cmd_vel", lambda: velocity(TwistStamped, 0.0)
            )
        else:
            self._stamped.stop()
            self._stamped = None

    def _change_speed(self) -> None:
        self._speed = self._dice.choice((0.0, 0.0, 0.3, -0.05, math.nan))

    def _restart_action(self) -> None:
        if self._action is not None:
            self._action.stop()
        self._action, self._has_goal = FakeAction(self._peer, "navigate_to_pose"), False

    def _change_goal(self) -> None:
        if self._action is not None:
            code = self._dice.choice((1, 2, 3, 4, 5, 6))
            self._action.publish(4, code)
            self._has_goal = code < 4

    def _crash(self) -> None:
        if self._action is not None:
            self._action.stop()
        self._action, self._has_goal = None, False

    def _permit(self) -> None:
        if self._permission is None:
            self._permission = self._peer.publisher(Bool, "fl/may_learn", LATCHED)
        self._permission.publish(Bool(data=True))
        self._said = True

    def _forbid(self) -> None:
        if self._permission is not None:
            self._permission.publish(Bool(data=False))
        self._said = False

    def _lose_permission(self) -> None:
        if self._permission is not None:
            self._peer.node.destroy_publisher(self._permission)
        self._permission, self._said = None, False

    def _heal(self) -> None:
        """Make all well, so that the robot learns at times."""
        self._charge, self._status, self._present = 0.8, CHARGING, True
        if self._counts_percent:
            self._charge = 80.0
        self._speed = 0.0
        if self._power is None:
            self._toggle_power()
        if self._stamped is not None:
            self._toggle_stamped()
        if self._has_goal and self._action is not None:
            self._action.publish(4)
            self._has_goal = False
        self._permit()


def do_chaos(folder: Path, options: argparse.Namespace) -> None:
    """Print how often the robot learned although it should not have."""
    rules = ["battery >= 0.4", "charging", "still", "no_goal", "topic fl/may_learn"]
    parameters = {
        "learn": "auto",
        "learn_when": ["new_samples >= 0"],
        "learn_while": rules,
        "signal_timeout_sec": TIMEOUT_SEC,
        "pause_max_sec": 4.0,  # so that runs are left, and begin anew
    }
    dice = random.Random(options.seed)
    other = Peer("other_base")
    with robot_and_server(folder, **parameters) as robot:
        topics = Topics(robot.peer, other, dice)
        wait_until(lambda: robot.state == "training", "training", PATIENCE_SEC)
        counts = {"pauses": 0, "resumptions": 0, "starts": 1}
        seen, learned_sec, errors = len(robot.statuses), 0.0, []
        end, next_change, before = time.monotonic() + options.seconds, 0.0, time.monotonic()
        state = robot.state
        while (now := time.monotonic()) < end:
            if now >= next_change:
                topics.change()
                next_change = now + dice.expovariate(1.5)
            topics.note()
            for _, values in robot.statuses[seen:]:
                if values["state"] != state:
                    counts["pauses"] += values["state"] == "paused"
                    counts["resumptions"] += state == "paused" and values["state"] == "training"
                    counts["starts"] += values["state"] == "connecting"
                    state = values["state"]
            seen = len(robot.statuses)
            is_leaving = robot.statuses[-1][1]["why"].startswith("not learning: left: ")
            if state not in ("paused", "idle", "failed") and not is_leaving:
                learned_sec += now - before
                for name in list(topics.wrong_since):
                    late_sec = topics.wrong_for_sec(name, now)
                    if late_sec > 0.0:
                        why = f"{state}; {robot.statuses[-1][1]['why']}"
                        errors.append((name, late_sec, why))
            before = now
            time.sleep(0.01)
        print(
            f"{topics.changes} changes of the topics in {options.seconds} s: {counts['starts']} "
            f"starts, {counts['pauses']} pauses, {counts['resumptions']} resumptions, "
            f"{learned_sec:.0f} s of learning"
        )
        for what, is_decided in (("no decision", False), ("decided, not stopped", True)):
            late = [
                (seconds, name, why)
                for name, seconds, why in errors
                if ("; paused: " in why) == is_decided
            ]
            print(f"{what} in time: {len(late)} looks of 10 ms; worst, after the grace: ", end="")
            print("{:.2f} s, {}: {}".format(*max(late)) if late else "none")
        if options.log:
            print(robot.node.output)
    other.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=("pause", "cost", "chaos"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", action="store_true", help="print the node's log")
    options = parser.parse_args()
    do = {"pause": measure_pause, "cost": measure_cost, "chaos": do_chaos}[options.what]
    with private_ros_domain() as variables, tempfile.TemporaryDirectory() as folder:
        os.environ.update(variables)
        do(Path(folder), options)


if __name__ == "__main__":
    main()
