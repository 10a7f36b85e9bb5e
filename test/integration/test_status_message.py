"""The diagnostics of capture and worker."""

from __future__ import annotations

from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from fl_robot_ros.nodes.status_message import to_capture_message, to_worker_message
from fl_robot_ros.worker_link.run_status import RunState, RunStatus

WELL: dict[str, Any] = {
    "queue_length": 0,
    "rates_hz": {},
    "silent_topics": [],
    "lacks_labels_on": "",
    "labels_received": 0,
    "newest_label": "",
    "bags": "",
    "bags_pending": 0,
    "last_error": "",
    "is_enabled": True,
    "is_disk_full": False,
}
REASON = "topic /front: encoding 'nonsense' is unknown"


def test_an_invalid_frame_is_named_while_it_is_recent() -> None:
    counts = {"kept": 9, "bad_encoding": 1}
    state = {**WELL, "last_error": REASON}
    recent = to_capture_message("robot", counts, {"bad_encoding": 1}, **state)
    assert recent.level == DiagnosticStatus.WARN
    assert recent.message == f"capturing, 1 invalid in the last 30 s: {REASON}"
    later = to_capture_message("robot", counts, {"kept": 9}, **state)
    assert (later.level, later.message) == (DiagnosticStatus.OK, "capturing")
    # What happened can still be read.
    values = {item.key: item.value for item in later.values}
    assert (values["bad_encoding"], values["last_error"]) == ("1", REASON)


@pytest.mark.parametrize("verdict", ["queue_full", "disk_full", "disk_error"])
def test_lost_frames_are_named_while_they_are_recent(verdict: str) -> None:
    recent = to_capture_message("robot", {verdict: 7}, {verdict: 5}, **WELL)
    assert recent.level == DiagnosticStatus.WARN
    assert recent.message == f"capturing, 5 frames lost in the last 30 s ({verdict})"
    later = to_capture_message("robot", {verdict: 7}, {}, **WELL)
    assert later.level == DiagnosticStatus.OK


def test_a_silent_worker_shows_in_the_diagnostics() -> None:
    training = RunStatus(RunState.TRAINING, run=1, round=2, rounds=3)
    message = to_worker_message("robot", training, 4711, 61.7)
    assert (message.level, message.message) == (DiagnosticStatus.OK, "training, round 2 of 3")
    values = {item.key: item.value for item in message.values}
    assert (values["pid"], values["silent_sec"]) == ("4711", "62")
    idle = to_worker_message("robot", RunStatus(), None, None)
    assert {"pid", "silent_sec"} <= {item.key for item in idle.values if item.value == ""}
