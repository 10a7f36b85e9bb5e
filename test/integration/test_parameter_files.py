"""Parameter files of which nothing reaches the node are refused, by rcl's own reading of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from ros_process import StartNode

from fl_robot_ros.errors import SettingError
from fl_robot_ros.ros.parameter_files import check_parameter_files

PARAMETERS = {"ros__parameters": {"jpeg_quality": 50}}


def write(path: Path, content: Any) -> str:
    # JSON is YAML, and has no aliases, which rcl does not read.
    path.write_text(json.dumps(content))
    return str(path)


def make_node(context: rclpy.Context, namespace: str, arguments: list[str]) -> Node:
    node = rclpy.create_node("fl_client", namespace=namespace, context=context, cli_args=arguments)
    context.on_shutdown(node.destroy_node)
    return node


@pytest.mark.parametrize("namespace", ["", "/robot1", "/fleet/robot1"])
@pytest.mark.parametrize(
    "content",
    [
        {"fl_client": PARAMETERS},
        {"/fl_client": PARAMETERS},
        {"robot1/fl_client": PARAMETERS},
        {"/fleet/robot1/fl_client": PARAMETERS},
        {"robot1": {"fl_client": PARAMETERS}},
        {"fleet": {"robot1": {"fl_client": PARAMETERS}}},
        {"/**": PARAMETERS},
        {"/*": PARAMETERS},
        {"/*/*": PARAMETERS},
        {"/**/fl_client": PARAMETERS},
        {"/*/fl_client": PARAMETERS},
        {"/robot1/**": PARAMETERS},
        {"/fleet/**/fl_client": PARAMETERS},
        {"fl_perception": PARAMETERS},
        {"other": PARAMETERS, "/**/fl_client": PARAMETERS},
    ],
    ids=lambda content: "+".join(content),
)
def test_a_file_is_refused_exactly_where_rcl_takes_nothing_from_it(
    context: rclpy.Context, tmp_path: Path, namespace: str, content: Any
) -> None:
    arguments = ["--ros-args", "--params-file", write(tmp_path / "params.yaml", content)]
    node = make_node(context, namespace, arguments)
    if "jpeg_quality" in node._parameter_overrides:
        check_parameter_files(node, arguments)
    else:
        with pytest.raises(SettingError, match=f"nothing for {namespace}/fl_client"):
            check_parameter_files(node, arguments)


def test_a_file_of_another_program_is_no_fault_beside_one_for_the_node(
    context: rclpy.Context, tmp_path: Path
) -> None:
    mine = write(tmp_path / "mine.yaml", {"/**/fl_client": PARAMETERS})
    navigation = write(tmp_path / "nav.yaml", {"controller_server": PARAMETERS})
    wrong = write(tmp_path / "wrong.yaml", {"/other/fl_client": PARAMETERS})
    for files, is_refused in (([mine, navigation], False), ([mine, wrong], True)):
        arguments = ["--ros-args", *(word for file in files for word in ("--params-file", file))]
        node = make_node(context, "/robot1", arguments)
        if is_refused:
            with pytest.raises(SettingError, match=r"wrong\.yaml has nothing"):
                check_parameter_files(node, arguments)
        else:
            check_parameter_files(node, arguments)


def test_what_a_launch_file_adds_does_not_hide_a_lost_file(
    context: rclpy.Context, tmp_path: Path
) -> None:
    simulated = {"ros__parameters": {"use_sim_time": True}}
    added = write(tmp_path / "launch_params_x1", {"/**": simulated})
    lost = write(tmp_path / "client.yaml", {"fl_client": PARAMETERS})
    arguments = ["--ros-args", "--params-file", lost, "--params-file", added]
    node = make_node(context, "/robot1", arguments)
    with pytest.raises(SettingError, match=r"client\.yaml has nothing for /robot1/fl_client"):
        check_parameter_files(node, arguments)


def test_a_robot_does_not_run_without_the_masks_of_its_file(
    start_node: StartNode, tmp_path: Path
) -> None:
    masks = {"ros__parameters": {"privacy_masks": ["camera/image_raw: 0,0 1,0 1,1"]}}
    file = write(tmp_path / "dumped.yaml", {"/fl_client": masks})
    node = start_node(
        "client",
        ("-r", "__ns:=/robot1", "--params-file", file),
        data_dir=tmp_path / "robot",
    )
    assert node.wait() == 2
    assert f"{file} has nothing for /robot1/fl_client" in node.output
    assert "it has parameters for /fl_client" in node.output
    assert "Traceback" not in node.output
    assert not (tmp_path / "robot").exists()


def test_a_missing_file_ends_the_node(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node("client", ("--params-file", str(tmp_path / "missing.yaml")))
    assert node.wait() == 2
    assert "missing.yaml" in node.output
    assert "Traceback" not in node.output
