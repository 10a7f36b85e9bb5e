"""What the topics of a robot show, and what is said about them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor import cameras, topics
from fl_robot_ros.doctor.examination import examine
from fl_robot_ros.doctor.finding import Finding, Level
from fl_robot_ros.doctor.robot_graph import (
    Arrival,
    Battery,
    Endpoint,
    ListenRequest,
    RobotGraph,
    Topic,
)
from fl_robot_ros.doctor.rule_signals import check_rule_signals
from fl_robot_ros.name_list import name_list
from fl_robot_ros.process_lock import ProcessLock

SEC = 1_000_000_000
NOW = 1_800_000_000 * SEC
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
STRING, BATTERY = "std_msgs/msg/String", "sensor_msgs/msg/BatteryState"
DRIVER = Endpoint("/driver", IMAGE, True, False)
UNRELIABLE = DRIVER._replace(is_reliable=False)
RVIZ = Endpoint("/rviz", IMAGE, True, False)
LABELLER = Endpoint("/labeller", STRING, True, False)


def arrivals(
    count: int = 150,
    *,
    lag_sec: float = 0.001,
    stamp_age_sec: float = 0.02,
    kept: Callable[[int], bool] = lambda _: True,
    jitter: float = 0.0,
) -> tuple[Arrival, ...]:
    """Return the messages of a camera with 30 Hz."""
    chance = random.Random(1)
    times = [NOW + int((n + jitter * chance.uniform(-0.5, 0.5)) * SEC / 30) for n in range(count)]
    return tuple(
        Arrival(
            time + int(lag_sec * SEC), time, time - int(stamp_age_sec * SEC), size_bytes=921_600
        )
        for n, time in enumerate(times)
        if kept(n)
    )


CAMERA = Topic("/camera", (DRIVER,), (), arrivals())
GRAPH = RobotGraph(
    "/",
    "rmw_fastrtps_cpp",
    "PROFILE=/share/fastdds.xml",
    "",
    5.0,
    num_nodes=2,
    cameras=(CAMERA,),
    labels=Topic("/fl/label", (LABELLER,), (), arrivals(1)),
    image_topics=("/camera", "/rear"),
    status={"state": "idle", "detail": "", "model_version": "v00002"},
    perception_model="/data/models/v00002/model.tflite",
)


def with_camera(camera: Topic) -> RobotGraph:
    return replace(GRAPH, cameras=(camera,))


def all_findings(graph: RobotGraph) -> list[Finding]:
    checks: list[Iterable[Finding]] = [
        topics.check_middleware(graph, {}),
        topics.check_client(graph, Path("/nowhere")),
        cameras.check_cameras(graph),
        topics.check_labels(graph, has_labels=False),
        topics.check_clocks(graph, {}),
        topics.check_battery(graph),
        topics.check_perception(graph),
    ]
    return [found for check in checks for found in check]


def test_a_sound_robot_has_only_good_findings() -> None:
    found = all_findings(GRAPH)
    assert {one.level for one in found} == {Level.OK}
    texts = [one.text for one in found]
    assert "/camera: 30.0 Hz, Image of 0.92 MB, reliable" in texts
    assert "fl_client runs: idle" in texts
    assert RobotGraph.from_json(GRAPH.to_json()) == GRAPH


@pytest.mark.parametrize(
    ("camera", "level", "text", "fix"),
    [
        (Topic("/side"), "problem", "nobody publishes /side", "of which there are /camera, /rear"),
        (
            Topic("/camera", (DRIVER._replace(type_name=STRING),)),
            "problem",
            f"/camera carries {STRING}, no image",
            "set image_topics, of which there are /rear",
        ),
        (
            Topic("/camera", (UNRELIABLE,)),
            "problem",
            "/driver publishes /camera, and no image came in 5 s",
            "if not, start the camera's driver with PROFILE=/share/fastdds.xml",
        ),
        (
            Topic("/camera", (UNRELIABLE,), (), arrivals(kept=lambda n: n % 10 in (0, 1, 5))),
            "warning",
            "about 70% of the images are lost",
            "PROFILE=/share/fastdds.xml",
        ),
        (
            replace(CAMERA, publishers=(DRIVER, DRIVER._replace(type_name=COMPRESSED))),
            "warning",
            f"carries {COMPRESSED}, {IMAGE}; one of them is taken",
            "a topic of its own",
        ),
        (
            replace(CAMERA, publishers=(UNRELIABLE,), subscribers=(RVIZ,)),
            "warning",
            "/rviz gets nothing of /camera: it asks for reliable images, and /driver publishes",
            "have /rviz subscribe with qos_profile_sensor_data",
        ),
        (
            replace(CAMERA, subscribers=(RVIZ._replace(is_latched=True),)),
            "warning",
            "it asks for earlier images, and /driver keeps none",
            "qos_profile_sensor_data",
        ),
        (
            replace(CAMERA, arrivals=arrivals(lag_sec=-3.0)),
            "problem",
            "the clock of /driver, on /camera, is 3.0 s ahead of this machine's",
            "NTP",
        ),
        (
            replace(CAMERA, arrivals=arrivals(stamp_age_sec=1e9)),
            "warning",
            "/camera: stamps are 1,000,000,000 s behind the time of publication",
            "have its driver stamp with ROS' time",
        ),
        (
            replace(CAMERA, arrivals=tuple(a._replace(stamp_ns=NOW) for a in arrivals(60))),
            "warning",
            "every image has the same stamp",
            "stamp each image",
        ),
    ],
)
def test_a_camera_that_gives_no_frames_or_wrong_ones_is_told(
    camera: Topic, level: str, text: str, fix: str
) -> None:
    [found] = [one for one in all_findings(with_camera(camera)) if one.level != Level.OK]
    assert found.level == level
    assert text in found.text
    assert fix in found.fix


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_jitter_is_not_taken_for_loss(jitter: float) -> None:
    camera = replace(CAMERA, arrivals=arrivals(jitter=jitter))
    assert camera.lost_share < 1 / 3
    few = arrivals(3, kept=lambda n: n != 1)
    assert replace(CAMERA, arrivals=few).lost_share == 0.0


def test_a_cv_bridge_for_another_numpy_is_told() -> None:
    graph = replace(GRAPH, bridge_fault="it was built for NumPy 1, and this is 2.4.6")
    _, found = topics.check_middleware(graph, {})
    assert "it was built for NumPy 1" in found.text
    assert found.fix.endswith("-m pip install 'numpy<2'")


def test_other_middleware_gets_other_advice() -> None:
    camera = Topic("/camera", (UNRELIABLE,))
    graph = replace(with_camera(camera), image_profile="", middleware="rmw_cyclonedds_cpp")
    [found] = cameras.check_cameras(graph)
    assert "sudo sysctl -w net.core.rmem_max" in found.fix
    compressed = Topic("/camera", (UNRELIABLE._replace(type_name=COMPRESSED),))
    [found] = cameras.check_cameras(with_camera(compressed))
    assert "PROFILE" not in found.fix


@pytest.mark.parametrize(
    ("labels", "level", "text"),
    [
        (Topic("/fl/label"), "warning", "nobody publishes /fl/label: frames get no label"),
        (Topic("/fl/label", (LABELLER,)), "warning", "no label came on /fl/label in 5 s, though"),
        (
            Topic("/fl/label", (LABELLER._replace(type_name="std_msgs/msg/Int32"),)),
            "problem",
            "/labeller publishes /fl/label as std_msgs/msg/Int32, which is ignored",
        ),
        (Topic("/fl/label", (LABELLER,), (), arrivals(3)), "ok", "3 labels came on /fl/label"),
    ],
)
def test_labels_that_never_come_are_told(labels: Topic, level: str, text: str) -> None:
    [found] = topics.check_labels(replace(GRAPH, labels=labels), has_labels=False)
    assert found.level == level
    assert text in found.text


def test_fixed_labels_need_no_topic() -> None:
    graph = replace(GRAPH, labels=Topic("/fl/label"))
    assert list(topics.check_labels(graph, has_labels=True)) == []


def test_clocks_that_disagree_are_told_and_an_old_latched_label_is_none() -> None:
    late = arrivals(1, lag_sec=100.0)
    [found] = topics.check_clocks(
        replace(GRAPH, labels=Topic("/fl/label", (LABELLER,), (), late)), {}
    )
    assert "the clock of /labeller, on /fl/label, is 100.0 s behind" in found.text
    latched = Topic("/fl/label", (LABELLER._replace(is_latched=True),), (), late)
    [found] = topics.check_clocks(replace(GRAPH, labels=latched), {})
    assert found.level == Level.OK


def test_simulated_time_without_a_clock_is_told() -> None:
    [found, _] = topics.check_clocks(GRAPH, {"use_sim_time": True})
    assert found.text == "use_sim_time is true, and nobody publishes /clock: time stands still"
    # What runs counts, not what a file says.
    running = replace(GRAPH, client_parameters={"use_sim_time": False})
    [found] = topics.check_clocks(running, {"use_sim_time": True})
    assert found.level == Level.OK
    [found] = topics.check_clocks(replace(GRAPH, has_clock=True), {"use_sim_time": True})
    assert found.level == Level.OK
    simulated = replace(CAMERA, arrivals=arrivals(stamp_age_sec=1e9))
    [found] = topics.check_clocks(replace(with_camera(simulated), has_clock=True), {})
    assert found.fix.startswith("use_sim_time:=true")


@pytest.mark.parametrize(
    ("type_name", "battery", "level", "text"),
    [
        ("", None, "problem", "nobody publishes the battery on /power"),
        (STRING, None, "problem", f"/power carries {STRING}"),
        (BATTERY, None, "problem", "and nothing came in 5 s"),
        (BATTERY, Battery(0.5, False), "problem", "/power says 'present: false'"),
        (BATTERY, Battery(None, True), "problem", "the percentage on /power is NaN"),
        (BATTERY, Battery(83.0, True), "warning", "/power counts in per cent: 83"),
        (BATTERY, Battery(0.83, True), "ok", "the battery on /power has 83%"),
    ],
)
def test_a_battery_is_read_as_the_rules_would(
    type_name: str, battery: Battery | None, level: str, text: str
) -> None:
    publishers = (Endpoint("/bms", type_name, True, False),) if type_name else ()
    graph = replace(GRAPH, battery_topic=Topic("/power", publishers), battery=battery)
    [found] = topics.check_battery(graph)
    assert found.level == level
    assert text in found.text


def test_rules_whose_signals_nobody_publishes_are_told() -> None:
    settings = ClientSettings(
        learn_while=("still", "no_goal", "topic go", "temperature <= 80"),
        motion_topics=("cmd_vel", "/odom"),
        temperature_topic="heat",
    )
    graph = replace(GRAPH, namespace="/r1")
    found = list(check_rule_signals(graph, settings))
    assert [one.text.partition(":")[0] for one in found] == [
        *("nobody publishes /r1/cmd_vel", "nobody publishes /odom"),
        f"none of the actions {name_list(settings.action_names)} has a server",
        *("nobody publishes /r1/go", "nobody publishes /r1/heat"),
    ]
    assert {one.level for one in found} == {Level.WARNING}

    twist, odometry = "geometry_msgs/msg/Twist", "nav_msgs/msg/Odometry"
    types = {"/cmd_vel": [twist], "/odom": [odometry, twist], "/r1/go": [STRING]}
    types["/nav/_action/status"] = ["action_msgs/msg/GoalStatusArray"]
    running = {"learn_while": ["still", "no_goal", "topic go"], "learn_when": None}
    running["motion_topics"] = ["cmd_vel", "/odom"]
    graph = replace(graph, types=types, client_parameters=running)
    cmd_vel, odom, action, go = check_rule_signals(graph, None)
    assert cmd_vel.fix == "correct motion_topics; there are /cmd_vel, /odom"
    assert (odom.level, go.level) == (Level.PROBLEM, Level.PROBLEM)
    assert odom.text.startswith(f"/odom carries {odometry}, {twist}: the rule 'still' takes one")
    assert action.fix == "correct action_names; there are /nav"
    assert go.fix == "start what publishes it"

    types |= {"/r1/cmd_vel": [twist], "/odom": [odometry], "/r1/go": ["std_msgs/msg/Bool"]}
    types["/r1/dock_robot/_action/status"] = types["/nav/_action/status"]
    assert list(check_rule_signals(graph, None)) == []


def test_our_own_nodes_are_told_of(tmp_path: Path) -> None:
    def one(graph: RobotGraph) -> Finding:
        [found] = topics.check_client(graph, tmp_path)
        return found

    silent = replace(GRAPH, status={})
    assert one(silent).text == "no fl_client runs"
    found = one(replace(silent, client_namespaces=("/r1",)))
    assert found.text == "no fl_client in the namespace /; there is one in /r1"
    assert "says nothing" in one(replace(silent, client_namespaces=("/",))).text
    _, why = topics.check_client(
        replace(GRAPH, status={"state": "idle", "why": "not learning: discharging"}), tmp_path
    )
    assert (why.level, why.text) == (Level.OK, "not learning: discharging")
    failed = one(replace(GRAPH, status={"state": "failed", "detail": "no memory"}))
    assert (failed.level, failed.text) == ("warning", "fl_client runs: failed, no memory")
    lock = ProcessLock(tmp_path / ".lock")
    assert lock.acquire()
    assert "and no fl_client is seen in the namespace /" in one(silent).text
    lock.close()


def test_the_model_in_use_is_compared_with_the_current_one() -> None:
    def texts(graph: RobotGraph) -> list[str]:
        return [found.text for found in topics.check_perception(graph)]

    assert texts(replace(GRAPH, perception_model=None)) == ["no fl_perception runs"]
    assert texts(replace(GRAPH, perception_model="")) == ["fl_perception runs without a model"]
    old = replace(GRAPH, perception_model="/data/models/v00001/model.tflite")
    assert texts(old)[0].endswith("and the current model is v00002")
    follower = Endpoint("/mine", STRING, True, False)
    graph = replace(GRAPH, model_path=Topic("/fl/model_path", (), (follower,)))
    assert "/mine follows /fl/model_path without durability" in texts(graph)[1]


def test_ros_that_does_not_start_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ListenRequest("/", None, "", 0.1)
    checks = topics.checks(request, {}, None, False, Path("/nowhere"))
    monkeypatch.setattr(topics, "has_ros", lambda: False)
    [found] = examine(checks)
    assert found.text == "the checks of ROS were left out"
    monkeypatch.setattr(topics, "has_ros", lambda: True)
    monkeypatch.setattr(topics, "_MODULE", "fl_robot_ros.nodes.of_no_such_name")
    [found] = examine(checks)
    assert found.level == Level.PROBLEM
    assert "ROS does not start: " in found.text
    assert "RMW_IMPLEMENTATION" in found.fix


@pytest.mark.parametrize(
    ("asked", "rules", "topic"),
    [
        ("", {}, ""),
        ("", {"learn_while": ["still for 60 s", "clock in 22:00-05:00"]}, ""),
        ("", {"learn_while": ["charging for 30 s"]}, "battery_state"),
        ("", {"learn_when": ["battery >= 0.4"]}, "battery_state"),
        ("power", {}, "power"),
    ],
)
def test_a_battery_is_looked_for_where_a_rule_needs_it_or_a_person_asks(
    asked: str, rules: dict[str, list[str]], topic: str
) -> None:
    request = ListenRequest("/", None, asked, 2.0)
    assert request.battery_of({"battery_topic": "battery_state", **rules}) == topic
