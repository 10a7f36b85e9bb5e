"""Results of perception as messages."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.images.frame import RawFrame
from fl_robot_ros.nodes import perception_message
from fl_robot_ros.perception.inference import Result

pytest.importorskip("rosidl_generator_py", reason="needs ROS' generator of messages")

# As in vision_msgs of Humble and later, which is not on PyPI.
_DEFINITIONS = {
    "Classification": "std_msgs/Header header\nObjectHypothesis[] results\n",
    "ObjectHypothesis": "string class_id\nfloat64 score\n",
}
_GENERATE = """
import json, sys
from pathlib import Path
from rosidl_adapter.msg import convert_msg_to_idl
from rosidl_generator_py import generate_py
folder, names = Path(sys.argv[1]), sys.argv[2:]
for name in names:
    convert_msg_to_idl(folder, "vision_msgs", Path("msg", f"{name}.msg"), folder / "msg")
templates = next(Path(sys.prefix).rglob("rosidl_generator_py/resource/_msg.py.em"))
arguments = {
    "package_name": "vision_msgs",
    "output_dir": str(folder),
    "template_dir": str(templates.parent),
    "idl_tuples": [f"{folder}:msg/{name}.idl" for name in names],
    "ros_interface_dependencies": [],
    "target_dependencies": [],
    "type_description_tuples": [],
}
(folder / "arguments.json").write_text(json.dumps(arguments))
generate_py(str(folder / "arguments.json"), [])
"""


@pytest.fixture
def vision_msgs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The messages of vision_msgs, made by ROS' own generator."""
    folder = tmp_path / "vision_msgs"
    (folder / "msg").mkdir(parents=True)
    for name, text in _DEFINITIONS.items():
        (folder / "msg" / f"{name}.msg").write_text(text)
    command = [sys.executable, "-c", _GENERATE, str(folder), *_DEFINITIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "StopIteration" in done.stderr:
        pytest.skip("needs the templates of ROS' generator of messages")
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("vision_msgs.msg")


def test_a_classification_has_the_frames_header_and_the_highest_score_first(
    vision_msgs: object,
    write_version: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(perception_message, "vision_msgs", vision_msgs)
    predictor = Predictor(write_version())
    green = np.full((8, 8, 3), (60, 80, 0), np.uint8)
    frame = RawFrame(
        "/camera", 3_000_000_007, 5, "rgb8", 8, 8, 24, False, green.tobytes(), frame_id="front"
    )
    result = Result(frame, predictor, predictor.predict(green), green, "", 0.01)
    message = perception_message.to_classification_message(result)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 7)
    assert message.header.frame_id == "front"
    assert [one.class_id for one in message.results] == ["green", "red", "blue"]
    scores = [one.score for one in message.results]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-5)
    unclassified = Result(frame, predictor, None, None, "it is broken", 0.01)
    message = perception_message.to_classification_message(unclassified)
    assert (message.header.frame_id, message.results) == ("front", [])
