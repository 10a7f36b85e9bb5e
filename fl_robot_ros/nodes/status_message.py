"""The robot's state as diagnostic messages."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from fl_robot_ros.autonomy.rule_check import Finding
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.name_list import name_list
from fl_robot_ros.worker_link.run_status import RunState, RunStatus

# How long a lost or invalid frame keeps the diagnostics of capture at WARN.
TROUBLE_SEC = 30
_LOW_DISK_BYTES = 500_000_000
_LOSSES = (Verdict.QUEUE_FULL, Verdict.DISK_FULL, Verdict.DISK_ERROR)
_INVALID = (Verdict.BAD_ENCODING, Verdict.BAD_LABEL)


def to_status_message(
    status: RunStatus, robot: str, model_version: str, why: str, hold: str = ""
) -> DiagnosticStatus:
    """Return the message of `fl/status`; its `message` is the state, one word.

    Args:
        status: State of the robot's run.
        robot: The robot's name.
        model_version: Name of the current model version, "" for none.
        why: Whether the robot learns, and why, "" without rules.
        hold: Why that version stays, "" where a new one may replace it.
    """
    level = DiagnosticStatus.ERROR if status.state == RunState.FAILED else DiagnosticStatus.OK
    values = {**status.values(), "model_version": model_version, "why": why}
    if hold:
        values["hold"] = hold
    return _message(level, robot, "run", str(status.state), values)


def to_capture_message(
    robot: str,
    verdicts: Mapping[str, int],
    recent_verdicts: Mapping[str, int],
    *,
    queue_length: int,
    rates_hz: Mapping[str, float],
    silent_topics: Sequence[str],
    lacks_labels_on: str,
    labels_received: int,
    newest_label: str,
    bags: str,
    bags_pending: int,
    last_error: str,
    is_enabled: bool,
    is_disk_full: bool,
) -> DiagnosticStatus:
    """Return the diagnostics of capture: rates, verdicts, labels, queue, bags.

    Args:
        robot: The robot's name.
        verdicts: Frames by verdict since the node's start.
        recent_verdicts: Those of the last `TROUBLE_SEC` seconds.
        queue_length: Frames that wait.
        rates_hz: Frames per second by topic.
        silent_topics: Cameras that send nothing.
        lacks_labels_on: Topic on which no label has come although frames need one; "" for none.
        labels_received: Labels since the node's start.
        newest_label: The newest of them.
        bags: Progress of the import of bags, in one line.
        bags_pending: Bags that wait or are being read.
        last_error: Why the newest invalid frame or label could not be used.
        is_enabled: Whether frames are taken.
        is_disk_full: Whether capture pauses because the disk is full.
    """
    lost = sum(recent_verdicts.get(name, 0) for name in _LOSSES)
    invalid = sum(recent_verdicts.get(name, 0) for name in _INVALID)
    is_well = not (lost or invalid or silent_topics)
    level = DiagnosticStatus.OK if is_well else DiagnosticStatus.WARN
    summary = "capturing" if is_enabled else "paused"
    if is_disk_full:
        level, summary = DiagnosticStatus.ERROR, "paused, the disk is full"
    if lost:
        reasons = ", ".join(name for name in _LOSSES if recent_verdicts.get(name))
        summary = f"{summary}, {lost} frames lost in the last {TROUBLE_SEC} s ({reasons})"
    if invalid:
        summary = f"{summary}, {invalid} invalid in the last {TROUBLE_SEC} s: {last_error}"
    if silent_topics:
        summary = f"{summary}, no frames from {name_list(silent_topics)}"
    if lacks_labels_on:
        summary = f"{summary}, no label on {lacks_labels_on} yet"
    values = {str(name): str(count) for name, count in verdicts.items()}
    values.update({f"rate_hz {topic}": f"{rate:.1f}" for topic, rate in rates_hz.items()})
    values.update(labels_received=str(labels_received), newest_label=newest_label)
    values.update(queue_length=str(queue_length), bags=bags)
    values.update(bags_pending=str(bags_pending), last_error=last_error)
    return _message(level, robot, "capture", summary, values)


def to_dataset_message(
    robot: str,
    counts: Mapping[str, int],
    num_unlabelled: int,
    disk_bytes: int,
    path: Path,
) -> DiagnosticStatus:
    """Return the diagnostics of the dataset: images per label, its size, free space.

    Raises:
        OSError: The folder of the dataset is gone.
    """
    free = shutil.disk_usage(path).free
    level = DiagnosticStatus.WARN if free < _LOW_DISK_BYTES else DiagnosticStatus.OK
    total = sum(counts.values())
    summary = f"{total} images of {len(counts)} labels"
    if level == DiagnosticStatus.WARN:
        summary += f", only {free / 1e6:.0f} MB of disk left"
    values = {f"label {label}": str(count) for label, count in counts.items()}
    values.update(
        unlabelled=str(num_unlabelled), dataset_bytes=str(disk_bytes), free_bytes=str(free)
    )
    return _message(level, robot, "dataset", summary, values)


def to_dataset_error_message(robot: str, reason: str) -> DiagnosticStatus:
    """Return the diagnostics of a dataset that cannot be read."""
    return _message(DiagnosticStatus.ERROR, robot, "dataset", reason, {})


def to_worker_message(
    robot: str, status: RunStatus, pid: int | None, silent_sec: float | None
) -> DiagnosticStatus:
    """Return the diagnostics of the fleet worker.

    Args:
        robot: The robot's name.
        status: The state of the run.
        pid: The worker's process, None without one.
        silent_sec: Time since its newest event, None without a worker.
    """
    level = DiagnosticStatus.ERROR if status.state == RunState.FAILED else DiagnosticStatus.OK
    values = {
        "pid": "" if pid is None else str(pid),
        "silent_sec": "" if silent_sec is None else f"{silent_sec:.0f}",
        **status.values(),
    }
    return _message(level, robot, "worker", str(status), values)


def to_rules_message(
    robot: str,
    verdict: str,
    findings: Sequence[Finding],
    weeks: Mapping[str, Mapping[str, int]],
) -> DiagnosticStatus:
    """Return the diagnostics of the rules of learning; a rule that does not hold is no fault.

    Args:
        robot: The robot's name.
        verdict: Whether it learns, and why, "" without rules.
        findings: What was found of each rule.
        weeks: Number of runs by shape, for each week.
    """
    values = {
        str(finding.rule): f"{'holds' if finding.holds else 'does not hold'}: {finding.measured}"
        for finding in findings
    }
    for week, shapes in sorted(weeks.items()):
        values[f"runs {week}"] = ", ".join(f"{runs} {shape}" for shape, runs in shapes.items())
    summary = verdict or "no rules"
    return _message(DiagnosticStatus.OK, robot, "learning rules", summary, values)


def _message(
    level: bytes, robot: str, part: str, summary: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=f"{robot}: fl_client {part}",
        hardware_id=robot,
        message=summary,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
