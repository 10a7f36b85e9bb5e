"""A parameter file that does something else than it says is found out before a node is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_robot_ros.doctor.examination import Result, examine
from fl_robot_ros.doctor.finding import Level
from fl_robot_ros.doctor.parameters import checks, read_settings

CLIENT = "/**/fl_client:\n  ros__parameters:\n    "


def findings(folder: Path, text: str, namespace: str = "/") -> list[Result]:
    """Return what is wrong with a file."""
    path = folder / "robot.yaml"
    path.write_text(text)
    robot = read_settings(path, namespace)
    found = examine(checks(path, namespace, robot))
    return [one for one in found if one.level != Level.OK]


@pytest.mark.parametrize(
    ("line", "text", "fix"),
    [
        ("privacy_mask: ['a: 0,0 1,0 1,1']", "'privacy_mask' is no setting", "'privacy_masks'?"),
        ("image_topic: a", "'image_topic' has no effect: it is a setting of", "'image_topics'?"),
        ("rate_hz: 1.0", "it is a setting of fl_streamer", "move it to '/**/fl_streamer:'"),
        ("nonsense: 3", "'nonsense' is no setting, and ROS ignores it", "fl_client --help"),
        ("sample_rate_hz: 0", "sample_rate_hz is 0.0", "expected 0.001 to 1000 Hz"),
        ("queue_size: 1.5", "queue_size is 1.5", "expected a whole number"),
        ("image_topics: one", "image_topics is 'one'", "expected a list of strings"),
        ("image_topics: ['']", "image_topics is empty", "name the camera's topic"),
        ("enrolment: /none/r1.json", "/none/r1.json cannot be read", ""),
        ("bag_paths: [/none/drive]", "bag_paths names /none/drive", "correct the path"),
        ("data_dir: '~nobody_/x'", "data_dir is '~nobody_/x': no such user", "correct"),
        ("dataset_source: tape", "dataset_source is 'tape'", "expected 'capture'"),
        ("server_address: cloud:80", "there is no TLS", "set enrolment to the file of"),
        ("topic_labels: ['side: cup']", "topic_labels names side, which is none", "as in image_"),
        ("learn_when: [clock in 22:00-25:00]", "learn_when: rule 'clock in 22:00-25", "grammar"),
        (
            "learn_while: [batery >= 0.4]",
            "at 'batery', expected a signal: charging",
            "autonomy.md",
        ),
        ("use_sim_time: 'true'", "use_sim_time is 'true'", "write true or false, without quotes"),
        ("learn_while: [topic fl/may-learn]", "'fl/may-learn' can be no topic", "write letters"),
        ("{learn_while: [no_goal], action_names: [2nd]}", "action_names: '2nd' can be", "digit"),
        ("learn: auto", "learn is 'auto', and learn_when is empty", "expected one rule or more"),
        ("{learn_while: [still], motion_topics: []}", "motion_topics is empty, and the rule", ""),
        (
            "{min_brightness: 200.0, max_brightness: 100.0}",
            "min_brightness is 200.0",
            "expected at most max_brightness, 100.0",
        ),
    ],
)
def test_a_parameter_that_is_refused_or_ignored_is_told_with_its_fix(
    tmp_path: Path, line: str, text: str, fix: str
) -> None:
    [found] = findings(tmp_path, CLIENT + line)
    assert text in found.text
    assert fix in found.fix


@pytest.mark.parametrize(
    "line",
    [
        "image_topics: [a, b]\n    use_sim_time: true",
        "sample_rate_hz: 1\n    label_hold_sec: 1e1",  # PyYAML takes 1e1 for a text.
        "bag_paths: []\n    robot_name: 7",
        "learn_while: [topic ~/a, topic /b/_c1, still]",
        "qos_overrides: {/a: {publisher: {depth: 1}}}",
    ],
)
def test_what_ros_and_our_nodes_take_is_no_finding(tmp_path: Path, line: str) -> None:
    assert findings(tmp_path, CLIENT + line) == []


@pytest.mark.parametrize(
    ("text", "told", "fix"),
    [
        ("fl_client:\n  image_topics: [a]", "does not stand below 'ros__parameters:'", "write"),
        ("/**/fl_cleint:\n  ros__parameters: {a: 1}", "no node is named 'fl_cleint'", "fl_client"),
        ("fl_client:\n  ros__parameters: {queue_size: 5}", "does not mean /r1/fl_client", "/**/"),
        ("/**:\n  ros__parameters: {image_topics: a}", "image_topics is 'a'", "a list of strings"),
        ("/**:\n  ros__parameters: {sample_rate: 5.0}", "'sample_rate' is no", "sample_rate_hz"),
        ("nav2:\n  ros__parameters: {a: 1}", "has nothing for fl_client", "write '/**/fl_client:"),
        ("- a", "has no parameters for any node", "write '/**/fl_client:'"),
        (f"{CLIENT}a: 1\n{CLIENT}b: 1", "'/**/fl_client' stands twice, in the lines 1 and 4", ""),
        (
            "a: &a [1]\nb: *a",
            "line 2 has the alias *a, which ROS does not read",
            "write the value",
        ),
        ("a: [", "cannot read parameter file", ""),
    ],
)
def test_a_key_that_reaches_no_node_is_told(
    tmp_path: Path, text: str, told: str, fix: str
) -> None:
    found = findings(tmp_path, text, "/r1")
    assert any(told in one.text and fix in one.fix for one in found), found


def test_the_later_checks_go_on_with_what_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(
        CLIENT + "queue_size: 1.5\n    data_dir: /data\n    battery_topic: power\n"
        "/**:\n  ros__parameters: {image_topics: [b]}"
    )
    robot = read_settings(path, "/r1")
    assert (robot.client.queue_size, robot.client.image_topics) == (64, ("b",))
    assert robot.data_dir == Path("/data")
    assert robot.given["battery_topic"] == "power"
    assert read_settings(None, "/r1").data_dir.name == "r1"


def test_a_file_that_is_not_there_and_one_without_end_are_findings(tmp_path: Path) -> None:
    absent = tmp_path / "none.yaml"
    [found, *_] = examine(checks(absent, "/", read_settings(absent, "/")))
    assert "No such file" in found.text
    assert findings(tmp_path, "a: &a\n  b: *a")[0].level != Level.OK
