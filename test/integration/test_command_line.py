"""`--help` of the nodes, and words on their command line that ROS would ignore."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys

import pytest

from fl_robot_ros.errors import SettingError
from fl_robot_ros.ros.command_line import NodeCommand

COMMANDS: dict[str, NodeCommand] = {
    name: importlib.import_module(f"fl_robot_ros.nodes.{name}").COMMAND
    for name in ("client", "perception", "streamer", "viewer")
}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_parameter_topic_and_service_and_starts_nothing(name: str) -> None:
    command = [sys.executable, "-m", f"fl_robot_ros.nodes.{name}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) < 80
    lines = [line.strip() for line in done.stdout.splitlines()]
    for field in dataclasses.fields(COMMANDS[name].settings):
        assert field.name in lines
    for names in (COMMANDS[name].topics, COMMANDS[name].services):
        for topic, type_name, _ in names:
            assert f"{topic} ({type_name})" in lines


def test_a_range_and_a_default_stand_in_the_help() -> None:
    text = " ".join(COMMANDS["client"].help().split())
    assert "by capture time. 0.001 to 1000 Hz; default 5.0." in text
    names = "'model.keras' or 'model.tflite' or 'model_int8.tflite' or 'manifest.json'"
    assert f"{names}; default model.keras." in text


@pytest.mark.parametrize(
    "words", [["client.yaml"], ["--params-file", "client.yaml"], ["-p", "jpeg_quality:=5"]]
)
def test_words_that_ros_would_ignore_are_refused(words: list[str]) -> None:
    with pytest.raises(SettingError, match=f"'{words[0]}'.* come after --ros-args"):
        COMMANDS["client"].wants_help(words)


def test_what_ros_takes_is_no_fault() -> None:
    words = ["--ros-args", "-p", "jpeg_quality:=5", "--params-file", "x.yaml", "--"]
    assert not COMMANDS["client"].wants_help(words)
    assert COMMANDS["client"].wants_help([*words, "--help"])


def test_a_parameter_file_without_ros_args_ends_the_node() -> None:
    command = [sys.executable, "-m", "fl_robot_ros.nodes.client", "client.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "unexpected argument 'client.yaml'" in done.stderr
    assert "Traceback" not in done.stderr
