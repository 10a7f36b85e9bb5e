"""The rules of `fl_client` over real DDS, with the topics of a robot that come, go and restart."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robot_topics import (
    FakeAction,
    Odometry,
    Repeater,
    Twist,
    TwistStamped,
    battery,
    velocity,
)
from ros_process import Peer, StartNode
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from waiting import wait_until

from fl_robot_ros.ros.qos import LATCHED, reliable_qos

RULES = [
    "battery >= 0.4",
    "charging",
    "still for 0.2 s",
    "no_goal for 0.2 s",
    "topic fl/may_learn",
]
WILLING = "would learn: the rules hold; call fl/start_round"


class Watch:
    """What `fl_client` says of its rules."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._statuses: list[DiagnosticStatus] = peer.record(
            DiagnosticStatus, "fl/status", LATCHED
        )
        self._diagnostics: list[DiagnosticArray] = peer.record(
            DiagnosticArray, "/diagnostics", reliable_qos(50)
        )

    @property
    def why(self) -> str:
        if not self._statuses:
            return ""
        return str(next(item.value for item in self._statuses[-1].values if item.key == "why"))

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.why, f"{text!r} on fl/status")

    @property
    def rules(self) -> dict[str, str]:
        """The newest diagnostics of the rules."""
        for array in reversed(self._diagnostics):
            for status in array.status:
                if status.name == "tester: fl_client learning rules":
                    assert status.level == DiagnosticStatus.OK
                    return {item.key: item.value for item in status.values}
        return {}

    def start_round(self) -> Any:
        client = self._peer.node.create_client(Trigger, "fl/start_round")
        assert client.wait_for_service(30.0)
        future = client.call_async(Trigger.Request())
        wait_until(future.done, "the reply")
        return future.result()


def test_the_robots_topics_decide_and_every_change_is_told(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    watch = Watch(peer)
    node = start_node(
        "client",
        data_dir=tmp_path / "robot",
        robot_name="tester",
        learn="suggest",
        learn_when=["new_samples >= 0", "hours_since_run >= 6"],
        learn_while=RULES,
        motion_topics=["cmd_vel"] if Odometry is None else ["cmd_vel", "odom"],
        signal_timeout_sec=1.0,
    )
    watch.says("not learning: battery unknown: no message on /battery_state yet, needs >= 0.4")
    charge, status = math.nan, BatteryState.POWER_SUPPLY_STATUS_CHARGING

    # A best-effort battery that counts in per cent.
    power = Repeater(peer, BatteryState, "battery_state", lambda: battery(charge, status))
    watch.says("battery unknown: percentage on /battery_state is nan, needs >= 0.4")
    charge = 31.0
    watch.says("not learning: battery 0.31, needs >= 0.4")
    node.wait_for_output("/battery_state says 31, above 1: it counts in per cent from now on")
    charge, status = 82.0, BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    watch.says("not learning: discharging, needs charging")
    status = BatteryState.POWER_SUPPLY_STATUS_FULL

    # Velocities of either type; a topic that restarts with the other one.
    watch.says("still unknown: cmd_vel: nobody has published it yet, needs still for 0.2 s")
    speed = 0.0
    base = Peer("base")  # no process has one topic with two types
    drive = Repeater(base, TwistStamped, "cmd_vel", lambda: velocity(TwistStamped, speed))
    if Odometry is not None:
        watch.says("still unknown: odom: nobody has published it yet, needs still for 0.2 s")
        Repeater(peer, Odometry, "odom", lambda: velocity(Odometry, 0.001))

    # The last status of a server that was there before says that a goal is executing.
    watch.says("no_goal unknown: there has been no server of navigate_to_pose, ")
    action = FakeAction(peer, "navigate_to_pose")
    action.publish(4, 2)
    watch.says("a goal is active on navigate_to_pose, needs no_goal for 0.2 s")
    refused = watch.start_round()
    assert not refused.success
    assert refused.message == (
        "not learning: a goal is active on navigate_to_pose, needs no_goal for 0.2 s"
    )
    # It crashes with its goal, and comes again.
    action.stop()
    watch.says("fl/may_learn unknown: no message yet, needs topic fl/may_learn")
    action = FakeAction(peer, "navigate_to_pose")
    watch.says("no_goal unknown: the server of navigate_to_pose has just come")
    watch.says("fl/may_learn unknown: no message yet")

    # The robot's own software has the last word, once.
    permission = peer.publisher(Bool, "fl/may_learn", LATCHED)
    permission.publish(Bool(data=True))
    watch.says(WILLING)
    rules = ["new_samples >= 0", "hours_since_run >= 6", *RULES]
    wait_until(
        lambda: [watch.rules.get(rule, "").partition(":")[0] for rule in rules] == ["holds"] * 7,
        "the diagnostics of the rules",
    )
    assert watch.rules["battery >= 0.4"] == "holds: 0.82"

    action.publish(2)
    watch.says("a goal is active on navigate_to_pose")
    action.publish(4)
    watch.says(WILLING)
    speed = 0.3
    watch.says("moving on cmd_vel, needs still for 0.2 s")
    speed = 0.0
    watch.says(WILLING)
    drive.stop()
    watch.says(WILLING)  # silence is still
    drive = Repeater(peer, Twist, "cmd_vel", lambda: velocity(Twist, speed))
    speed = 0.3
    watch.says("moving on cmd_vel, needs still for 0.2 s")
    drive.stop()
    watch.says(WILLING)
    permission.publish(Bool(data=False))
    watch.says("fl/may_learn is false, needs topic fl/may_learn")
    permission.publish(Bool(data=True))
    watch.says(WILLING)
    peer.node.destroy_publisher(permission)
    watch.says("fl/may_learn unknown: its publisher is gone, needs topic fl/may_learn")
    power.stop()
    watch.says("battery unknown: no message on /battery_state for ")

    base.close()
    assert node.interrupt() == 0
    journal = json.loads((tmp_path / "robot" / "learning.json").read_text())
    told = [line[20:] for line in journal["verdicts"]]
    assert told.count(WILLING) >= 5
    for line in told:
        assert line in node.output


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            # YAML reads off as false.
            {"learn": "off", "learn_while": ["batery >= 0.4"]},
            "learn_while: rule 'batery >= 0.4': at 'batery', exp",
        ),
        ({"learn": "auto"}, "learn is 'auto', and learn_when is empty"),
        ({"use_sim_time": "'true'"}, "'use_sim_time' to 'true' of type 'STRING'"),
        ({"learn_while": ["topic fl/may-learn"]}, "topic name 'fl/may-learn' is invalid"),
    ],
)
def test_a_wrong_parameter_ends_the_node_with_one_line(
    start_node: StartNode, tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    node = start_node("client", data_dir=tmp_path / "robot", **parameters)
    assert node.wait() == 2
    assert message in node.output
    assert "Traceback" not in node.output
