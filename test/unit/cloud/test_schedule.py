"""When runs begin, and what a server says while it waits for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest

from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.history import History, RunStage
from fl_robot_ros.cloud.rendezvous import Rendezvous
from fl_robot_ros.cloud.schedule import Schedule, come_back_sec, describe_moment
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import SettingError

HOUR_SEC, DAY_SEC = 3600.0, 86400.0


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def at(text: str) -> float:
    """Return a local time as a timestamp in s."""
    return datetime.fromisoformat(text).timestamp()


def local(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M}"


def test_a_schedule_is_in_local_time_through_both_changes_of_the_clock() -> None:
    nightly = Schedule(["30 2 * * *"])
    moments = [at("2026-03-28 02:30")]
    for _ in range(3):
        moments.append(nightly.next_after(moments[-1]))
    # On the 29th there is no 02:30.
    days = ["2026-03-28 02:30", "2026-03-29 03:30", "2026-03-30 02:30", "2026-03-31 02:30"]
    assert [local(moment) for moment in moments] == days
    # On the 25th of October it comes twice, and counts once.
    first = nightly.next_after(at("2026-10-24 12:00"))
    second = nightly.next_after(first)
    assert [local(first), local(second)] == ["2026-10-25 02:30", "2026-10-26 02:30"]
    assert nightly.next_after(first + HOUR_SEC + 60.0) == second


def test_the_first_of_several_lines_counts_and_moments_are_strictly_later() -> None:
    schedule = Schedule(["0 22 * * MON-FRI", "0 */12 * * *"])
    assert local(schedule.next_after(at("2026-11-26 21:59"))) == "2026-11-26 22:00"
    assert local(schedule.next_after(at("2026-11-26 22:00"))) == "2026-11-27 00:00"
    moments = schedule.between(at("2026-11-26 12:00"), at("2026-11-28 00:00"))
    assert [local(moment)[8:] for moment in moments] == [
        *("26 22:00", "27 00:00", "27 12:00", "27 22:00", "28 00:00"),
    ]
    assert not Schedule([])
    assert len(Schedule(["* * * * *"]).between(0.0, DAY_SEC)) == 1000


@pytest.mark.parametrize(
    "line", ["0 2 * *", "02:00", "0 2 * * * * *", "0 24 * * *", "0 0 30 2 *", "daily", " "]
)
def test_a_line_that_is_none_is_quoted_with_an_example(line: str) -> None:
    with pytest.raises(SettingError, match=r"^schedule has '.*as in '0 2 \* \* \*' for 02:00"):
        Schedule(["0 2 * * *", line])


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-11-26 21:30:20", "at Thu 21:30:20, in 20 s"),
        ("2026-11-26 21:42", "at Thu 21:42, in 12 min"),
        ("2026-11-27 02:00", "at Fri 02:00, in 4 h 30 min"),
        ("2026-12-24 02:00", "at Thu 24 Dec 02:00, in 652 h 30 min"),
    ],
)
def test_a_moment_in_words(moment: str, words: str) -> None:
    assert describe_moment(at(moment), at("2026-11-26 21:30")) == words


def test_robots_come_back_for_the_next_run_or_after_a_while() -> None:
    now = at("2026-11-26 21:30")
    nightly = ServerSettings(classes=("a", "b"), schedule=("0 2 * * *",), come_back_sec=60.0)
    assert come_back_sec(nightly, now) == 4.5 * HOUR_SEC
    assert come_back_sec(ServerSettings(classes=("a", "b"), come_back_sec=60.0), now) == 60.0


class FakeGate:
    """Notes until when it is closed."""

    def __init__(self) -> None:
        self.closed_until: list[float | None] = []

    def close_until(self, moment: float | None) -> None:
        self.closed_until.append(moment)


class Clock(threading.Event):
    """A clock that goes on when somebody waits for it, by jumps where a test says so."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now
        self.jumps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += self.jumps.pop(0) if self.jumps else timeout
        return self.is_set()


def wait_for_a_run(
    folder: Path, clock: Clock, lines: list[str], run: tuple[str, str] | None = None
) -> tuple[bool, list[str], list[float | None]]:
    """Wait for the next moment after a run at some times; return what was said and closed."""
    said: list[str] = []
    gate = FakeGate()
    with History(folder) as history:
        if run is not None:
            number = history.begin_run(1, 3, {})
            history.end_run(number, RunStage.FINISHED)
            history._execute("UPDATE runs SET started = ?, ended = ?", [at(time) for time in run])
        rendezvous = Rendezvous(Schedule(lines), history, said.append, clock, clock)
        begins = rendezvous.wait(cast(Gate, gate))
    return begins, said, gate.closed_until


def test_a_server_waits_for_its_moment_with_the_gate_closed(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-26 01:58:50"))
    begins, said, closed = wait_for_a_run(tmp_path, clock, ["0 2 * * *"])
    assert begins
    assert clock.now == at("2026-11-26 02:00")
    assert said == ["the next run begins at Thu 02:00, in 1 min"]
    assert closed == [at("2026-11-26 02:00"), None]


def test_moments_during_a_run_and_without_a_server_are_skipped_and_told(tmp_path: Path) -> None:
    run = ("2026-11-26 02:00:01", "2026-11-26 03:10")
    clock = Clock(at("2026-11-26 05:59:00"))
    begins, said, _ = wait_for_a_run(tmp_path, clock, ["0 * * * *"], run)
    assert begins
    assert said == [
        "the run of Thu 26 Nov 03:00 was skipped: the run before was still on",
        "2 runs were skipped, up to Thu 26 Nov 05:00: there was no server",
        "the next run begins at Thu 06:00, in 1 min",
    ]


def test_of_many_skipped_moments_the_last_one_counted_is_not_told(tmp_path: Path) -> None:
    run = ("2026-11-20 02:00:01", "2026-11-20 02:00:31")
    clock = Clock(at("2026-11-26 05:59:00"))
    _, said, _ = wait_for_a_run(tmp_path, clock, ["* * * * *"], run)
    assert said[0] == "1000 runs or more were skipped: there was no server"


def test_a_machine_that_sleeps_through_a_moment_waits_for_the_next(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-26 01:59:59"))
    clock.jumps = [5 * HOUR_SEC]
    begins, said, closed = wait_for_a_run(tmp_path, clock, ["0 2,8 * * *"])
    assert begins
    assert said == [
        "the next run begins at Thu 02:00, in 1 s",
        "the run of Thu 26 Nov 02:00 was skipped: the machine slept, or its clock was set",
        "the next run begins at Thu 08:00, in 1 h 0 min",
    ]
    assert closed == [at("2026-11-26 02:00"), at("2026-11-26 08:00"), None]


def test_a_clock_that_was_ahead_and_is_set_back_costs_no_run(tmp_path: Path) -> None:
    clock = Clock(at("2027-05-01 12:00"))
    clock.jumps = [1.0, at("2026-11-26 01:58:50") - clock.now - 1.0]
    begins, said, closed = wait_for_a_run(tmp_path, clock, ["0 2 * * *"])
    assert begins
    assert clock.now == at("2026-11-26 02:00")
    assert said == [
        "the next run begins at Sun 02:00, in 14 h 0 min",
        "the next run begins at Thu 02:00, in 1 min",
    ]
    assert closed == [at("2027-05-02 02:00"), at("2026-11-26 02:00"), None]


def test_a_server_that_is_stopped_waits_no_longer_and_lets_nobody_in(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-26 01:00"))
    clock.set()
    begins, _, closed = wait_for_a_run(tmp_path, clock, ["0 2 * * *"])
    assert not begins
    assert None not in closed
