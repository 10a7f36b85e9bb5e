"""`fl_doctor` on a robot whose drivers do what drivers do, over real DDS."""

from __future__ import annotations

from pathlib import Path

from rclpy.qos import qos_profile_sensor_data
from ros_process import Peer, StartNode
from sensor_msgs.msg import BatteryState, Image
from std_msgs.msg import String
from waiting import wait_until

from fl_robot_ros.doctor import topics
from fl_robot_ros.doctor.examination import Result, examine
from fl_robot_ros.doctor.robot_graph import ListenRequest


def test_what_is_wrong_with_a_robots_topics_is_told(
    peer: Peer, start_node: StartNode, tmp_path: Path
) -> None:
    client = start_node(
        "client",
        data_dir=str(tmp_path / "data"),
        image_topics="[camera/image_raw, rear, side]",
        use_sim_time="true",
        learn_while=["topic fl/may_learn", "no_goal"],
    )
    camera = peer.publisher(Image, "camera/image_raw", qos_profile_sensor_data)
    battery = peer.publisher(BatteryState, "power", qos_profile_sensor_data)
    peer.publisher(Image, "rear", 5)
    peer.publisher(Image, "fl/perception/image", 5)  # What fl_perception draws is no camera.
    # Others that get nothing, whatever fl_client does.
    peer.record(Image, "camera/image_raw", 5)
    peer.record(String, "fl/model_path", 5)

    def publish() -> None:
        stamp = peer.node.get_clock().now().to_msg()
        image = Image(height=4, width=4, step=12, encoding="rgb8", data=bytes(48))
        image.header.stamp = stamp
        camera.publish(image)
        battery.publish(BatteryState(percentage=83.0, present=True))

    peer.node.create_timer(0.05, publish)
    client.wait_for_output("robot ")
    request = ListenRequest("/", None, "power", 2.0)
    found: list[Result] = []
    expected = (
        "fl_client: ok: fl_client runs: idle",
        "cameras: ok: /camera/image_raw: ",
        "cameras: warning: /test_peer gets nothing of /camera/image_raw: it asks for reliable",
        "cameras: problem: /test_peer publishes /rear, and no image came in 2 s",
        "cameras: problem: nobody publishes /side",
        "labels: warning: nobody publishes /fl/label",
        "clocks: problem: use_sim_time is true, and nobody publishes /clock",
        "battery: warning: /power counts in per cent: 83",
        "fl_client: ok: not learning: fl/may_learn unknown: no message yet",
        "rules: warning: nobody publishes /fl/may_learn: the rule 'topic fl/may_learn' does not",
        "rules: warning: none of the actions navigate_to_pose, ",
        "perception: ok: no fl_perception runs",
        "perception: warning: /test_peer follows /fl/model_path without durability",
    )

    def is_told() -> bool:
        """Examine anew: on a slow machine, discovery takes longer than the doctor listens."""
        found[:] = examine(topics.checks(request, {}, None, False, tmp_path / "data"))
        lines = [f"{one.check}: {one.level}: {one.text}" for one in found]
        return all(any(line.startswith(start) for line in lines) for start in expected)

    wait_until(is_told, "every line")
    [rear] = [one for one in found if "/rear" in one.text]
    assert rear.fix.endswith("config/fastdds.xml")
    [side] = [one for one in found if "/side" in one.text]
    assert side.fix.endswith("of which there are /camera/image_raw, /rear")
    # Neither the doctor itself nor its subscriptions are part of what it tells.
    assert not [one for one in found if "fl_doctor" in one.text]


def test_an_invalid_name_is_no_fault_of_ros(tmp_path: Path) -> None:
    request = ListenRequest("/", ["cam era"], "", 0.1)
    [found] = examine(topics.checks(request, {}, None, False, tmp_path))
    assert found.text.startswith("topic name 'cam era' is invalid")
    assert found.fix == "correct it in the parameter file"
