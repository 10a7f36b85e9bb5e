"""Jobs and events on their way between node and worker."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from worker_job import make_job

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import ProtocolError
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker_link.event import (
    Delivered,
    Dismissed,
    Dropped,
    Ended,
    Event,
    EventWriter,
    Failed,
    Frozen,
    Prepared,
    Progress,
    Reading,
    read_event,
)
from fl_robot_ros.worker_link.hindrance import Hindrance
from fl_robot_ros.worker_link.job import Job
from fl_robot_ros.worker_link.run_status import RunState, RunStatus

JOB = make_job(
    Path("/robots/r1"),
    publication=Publication.from_settings(ClientSettings(guarded_classes=("person",))),
    hindrances=(Hindrance("battery 0.31, needs >= 0.4", 1.5, 2.5),),
)
EVENTS = (
    Frozen(10, 3, 1),
    Reading("folder:/images"),
    Prepared(10, 3, {"cat": 2}, 1),
    Progress(RunState.CONNECTING),
    Progress(RunState.TRAINING, 1, 2, 3, 1, 5, loss=0.5, accuracy=0.25),
    Dropped("its run has ended"),
    Delivered("v00002", 0.75),
    Delivered("v00003", 0.25, is_current=False, note="v00003 is refused; v00002 stays"),
    Dismissed("no model is released", 60.0),
    Failed("no server at x:1"),
    Ended(),
)


def test_a_job_round_trips_as_one_line() -> None:
    assert "\n" not in JOB.to_json()
    assert Job.from_json(JOB.to_json()) == JOB


@pytest.mark.parametrize("text", ["", "3", "{", "{}", JOB.to_json().replace("nice", "nicer")])
def test_a_line_that_is_no_job_is_quoted(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"^expected a job; the worker was given '"):
        Job.from_json(text)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_round_trips_as_one_line(event: Event) -> None:
    stream = io.StringIO()
    EventWriter(stream).write(event)
    [line] = stream.getvalue().splitlines()
    assert read_event(line) == event


@pytest.mark.parametrize(
    "line",
    [
        "",
        "WARNING: a library writes to stdout",
        "7",
        "[]",
        "[" * 100_000,
        "{}",
        '{"event": "rejoiced"}',
        '{"event": ["failed"]}',
        '{"event": "failed"}',
        '{"event": "failed", "reason": 3}',
        '{"event": "progress", "state": "dreaming"}',
        '{"event": "progress", "state": "idle"}',
        '{"event": "progress", "state": ["waiting"]}',
        '{"event": "progress", "state": "waiting", "round": "one"}',
        '{"event": "prepared", "train_images": 1, "holdout_images": 1, "unmapped_labels": [1]}',
        '{"event": "prepared", "train_images": 1, "holdout_images": 1, '
        '"unmapped_labels": {"cat": "two"}}',
    ],
)
def test_a_line_of_another_kind_is_no_event(line: str) -> None:
    assert read_event(line) is None


def test_unknown_fields_of_a_newer_worker_are_ignored() -> None:
    line = '{"event": "delivered", "version": "v00001", "accuracy": 0.5, "energy_j": 7}'
    assert read_event(line) == Delivered("v00001", 0.5)


def test_a_writer_outlives_its_reader() -> None:
    stream = io.StringIO()
    stream.close()
    writer = EventWriter(stream)
    writer.write(Failed("nobody reads"))
    writer.write(Failed("nobody reads"))
    EventWriter().write(Failed("nobody reads"))


def test_what_is_written_between_two_runs_belongs_to_none() -> None:
    stream = io.StringIO()
    writer = EventWriter(stream)
    events: list[Event] = [Progress(RunState.WAITING), Ended(), Progress(RunState.PAUSED)]
    for event in events:
        writer.write(event)
    assert writer.progress is None
    writer.begin_run()
    writer.write(Reading("x"))
    assert [read_event(line) for line in stream.getvalue().splitlines()] == [
        *events[:2],
        Reading("x"),
    ]


def test_a_process_takes_a_job_that_asks_the_same_of_it() -> None:
    assert replace(JOB, freeze=None, server_address="cloud:8000").can_follow(JOB)
    assert not replace(JOB, memory_limit_mb=JOB.memory_limit_mb + 1).can_follow(JOB)


def test_a_status_is_one_line_and_a_table_of_text() -> None:
    assert str(RunStatus()) == "idle"
    training = RunStatus(RunState.TRAINING, "", run=1, round=2, rounds=3, loss=0.5)
    assert str(training) == "training, round 2 of 3"
    assert str(RunStatus(RunState.FAILED, "no server", round=2)) == "failed, no server"
    assert training.values()["state"] == "training"
    assert training.values()["loss"] == "0.5000"
    assert training.values()["accuracy"] == ""
