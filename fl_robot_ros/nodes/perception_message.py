"""Results of perception as messages, and the node's diagnostics."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from fl_robot_ros.name_list import name_list
from fl_robot_ros.perception.inference import Result
from fl_robot_ros.perception.meter import Reading
from fl_robot_ros.ros.image_message import to_header

try:
    vision_msgs: Any = importlib.import_module("vision_msgs.msg")
except ImportError:  # Not part of ROS' base; without it there is no such topic.
    vision_msgs = None

# How long an image that was not classified keeps the diagnostics at WARN.
TROUBLE_SEC = 30


def to_result_message(result: Result, label: str) -> DiagnosticArray:
    """Return the message of `fl/perception/result`: one status, in the header of the frame.

    Args:
        result: What became of the frame.
        label: The published label, "" for none.
    """
    frame, prediction = result.frame, result.prediction
    values = {"label": label, "model_version": result.predictor.version}
    level, summary = DiagnosticStatus.ERROR, result.error
    if prediction is not None:
        level = DiagnosticStatus.OK if label else DiagnosticStatus.WARN
        summary = label or f"unsure, {prediction.label} is the likeliest"
        values["confidence"] = f"{prediction.confidence:.4f}"
        for name, score in zip(
            result.predictor.classes, prediction.probabilities.tolist(), strict=True
        ):
            values[f"score {name}"] = f"{score:.4f}"
    status = _status(level, frame.topic, "", summary, values)
    return DiagnosticArray(header=to_header(frame.stamp_ns, frame.frame_id), status=[status])


def to_classification_message(result: Result) -> Any:
    """Return a vision_msgs/Classification, the most probable class first; empty without one."""
    message = vision_msgs.Classification()
    message.header = to_header(result.frame.stamp_ns, result.frame.frame_id)
    if result.prediction is not None:
        scores = zip(
            result.predictor.classes, result.prediction.probabilities.tolist(), strict=True
        )
        for name, score in sorted(scores, key=lambda pair: -pair[1]):
            message.results.append(vision_msgs.ObjectHypothesis(class_id=name, score=score))
    return message


@dataclass(frozen=True)
class PerceptionState:
    """What the diagnostics say of the node.

    Attributes:
        reading: Rate, latency and age of results.
        rates_hz: Frames per second by topic.
        dropped: Frames since the node's start that a newer one replaced, by topic.
        silent_topics: Cameras that send nothing.
        counts: Frames since the node's start by what became of them.
        recently_unclassified: Frames of the last 30 s that could not be classified.
        version: Name of the model in use, "" for none.
        probation: State of its probation: "running", "passed", "failed" (with nothing to go
            back to) or "off"; "" without a model.
        trouble: What is wrong with announced models.
        last_error: Why the newest frame without a result could not be classified.
    """

    reading: Reading
    rates_hz: Mapping[str, float]
    dropped: Mapping[str, int]
    silent_topics: list[str]
    counts: Mapping[str, int]
    recently_unclassified: int
    version: str
    probation: str
    trouble: list[str]
    last_error: str


def to_perception_message(robot: str, state: PerceptionState) -> DiagnosticStatus:
    """Return the node's part of `/diagnostics`."""
    reading = state.reading
    problems: list[str] = []
    if not state.version:
        problems.append("waiting for a model on fl/model_path")
    problems += state.trouble
    if state.silent_topics:
        problems.append(f"no frames from {name_list(state.silent_topics)}")
    if state.recently_unclassified:
        problems.append(
            f"{state.recently_unclassified} frames of the last {TROUBLE_SEC} s could not be "
            f"classified: {state.last_error}"
        )
    level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
    summary = f"{state.version} in use, {reading.rate_hz:.1f} results a second"
    if not state.version:
        summary = "no model in use"
    elif state.recently_unclassified and not reading.rate_hz:
        level = DiagnosticStatus.ERROR
    values = {
        "model_version": state.version,
        "probation": state.probation,
        "rate_hz": f"{reading.rate_hz:.1f}",
    }
    for name, pair in (("latency_ms", reading.latency_ms), ("age_ms", reading.age_ms)):
        for percentile, index in (("p50", 0), ("p95", 1)):
            values[f"{name} {percentile}"] = "" if pair is None else f"{pair[index]:.1f}"
    for topic, rate in state.rates_hz.items():
        values[f"rate_hz {topic}"] = f"{rate:.1f}"
        values[f"dropped {topic}"] = str(state.dropped[topic])
    values.update({name: str(count) for name, count in state.counts.items()})
    values["last_error"] = state.last_error
    return _status(
        level, f"{robot}: fl_perception", robot, ", ".join([summary, *problems]), values
    )


def _status(
    level: bytes, name: str, hardware_id: str, summary: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=name,
        hardware_id=hardware_id,
        message=summary,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
