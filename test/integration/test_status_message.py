"""What the diagnostics of the capture say, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from fl_robot_ros.nodes.status_message import to_capture_message

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
