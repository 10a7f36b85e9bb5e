"""When the autopilot starts, pauses and resumes runs, and what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fl_robot_ros.autonomy.autopilot import Autopilot
from fl_robot_ros.autonomy.finished_run import FinishedRun
from fl_robot_ros.autonomy.journal import Journal
from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.autonomy.rules import LearningRules, Rule
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import RunRefusedError
from fl_robot_ros.worker_link.hindrance import Hindrance
from fl_robot_ros.worker_link.run_status import FINISHED, RunState, RunStatus

WHEN = ("new_samples >= 200",)
WHILE = ("battery >= 0.4", "still", "no_goal for 60 s")
WELL = {"new_samples": 300, "battery": 0.8, "still": 1, "no_goal": 1}


@dataclass
class FakeRun:
    """A run that the test moves on."""

    status: RunStatus = field(default_factory=RunStatus)
    shape: str = "-v[]+^"
    newest_id: int = 7
    calls: list[str] = field(default_factory=list)
    refusal: str = ""
    first_state: RunState = RunState.TRAINING
    come_back_sec: float = 0.0
    was_cancelled: bool = False
    is_leaving: bool = False
    hindrances: Sequence[Hindrance] = ()

    def start(self, hindrances: Sequence[Hindrance]) -> Future[str]:
        self.calls.append("start")
        self.hindrances = hindrances
        if self.refusal:
            raise RunRefusedError(self.refusal)
        self.status = RunStatus(self.first_state, samples=5)
        return Future()

    def pause(self, reason: str) -> None:
        self.calls.append(f"pause {reason}")

    def resume(self) -> None:
        self.calls.append("resume")

    def end(self, state: RunState = RunState.IDLE, detail: str = FINISHED) -> None:
        self.status = RunStatus(state, detail, samples=5)


class Robot:
    """An autopilot with signals and a clock that the test sets."""

    def __init__(self, path: Path, **settings: Any) -> None:
        values = {"learn": "auto", "learn_when": WHEN, "learn_while": WHILE, **settings}
        self.settings = ClientSettings(**values)
        self.signals: dict[str, float | None] = dict(WELL)
        self.run = FakeRun()
        self.path = path
        self.journal = Journal(path)
        self.verdicts: list[str] = []
        self.now = 0.0
        self.autopilot = Autopilot(
            self.settings,
            LearningRules.from_settings(self.settings),
            self.read,
            self.run,
            self.journal,
            self.verdicts.append,
            clock=lambda: self.now,
            local_time=lambda: datetime(2026, 11, 26, 22) + timedelta(seconds=self.now),
        )

    def read(self, rule: Rule, now: float) -> Reading:
        value = self.signals[rule.topic or rule.signal]
        return Reading(value, "silent" if value is None else f"{value:g}")

    def step(self, seconds: float = 0.5, **signals: float | None) -> list[str]:
        """Let time pass with other signals; return what the run was told."""
        self.signals.update(signals)
        self.now += seconds
        self.run.calls.clear()
        self.autopilot.step()
        return list(self.run.calls)


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path / "learning.json")


def start(robot: Robot) -> None:
    """Let the robot begin a run by itself."""
    robot.step()
    assert robot.step(60.0) == ["start"]
    robot.verdicts.clear()


def test_a_run_begins_when_all_rules_hold_and_yields_when_one_breaks(robot: Robot) -> None:
    assert robot.step() == []
    assert robot.step(59.9) == []
    assert robot.step(0.1) == ["start"]
    assert robot.step() == []
    assert robot.step(still=0) == ["pause 0, needs still"]
    assert robot.step() == []
    assert robot.step(still=1) == ["resume"]
    # learn_when is no rule to go on; the battery's margin is.
    assert robot.step(new_samples=0, battery=0.36) == []
    assert robot.step(battery=0.3) == []
    assert robot.step(1.0) == ["pause battery 0.3, needs >= 0.4"]
    assert robot.step(battery=0.39) == []
    assert robot.step(battery=0.4) == ["resume"]
    assert robot.verdicts == [
        "not learning: 1 for 0 s, needs no_goal for 60 s",
        "learning: the rules hold",
        "paused: 0, needs still",
        "learning: the rules hold",
        "paused: battery 0.3, needs >= 0.4",
        "learning: the rules hold",
    ]
    robot.run.end()
    assert robot.step() == []
    assert robot.verdicts[-1] == "not learning: new_samples 0, needs >= 200"
    assert robot.autopilot.verdict == robot.verdicts[-1]


def test_a_run_whose_model_was_refused_is_finished_too(robot: Robot) -> None:
    start(robot)
    robot.run.end(detail=f"{FINISHED}; v00002 is stored and not used: accuracy 0.2, 0.4 before")
    # It waits for no hour, as after a run that was left by hand.
    assert robot.step() == ["start"]


def test_the_reason_of_a_pause_stays_as_long_as_it_is_one(robot: Robot) -> None:
    start(robot)
    assert robot.step(no_goal=0) == ["pause 0, needs no_goal for 60 s"]
    assert robot.step(still=0) == []
    assert robot.step(no_goal=1) == []
    assert robot.step(60.0) == ["pause 0, needs still"]
    assert robot.step(still=1) == ["resume"]
    assert robot.step(still=0, battery=None) == ["pause battery unknown: silent, needs >= 0.4"]
    assert robot.verdicts == [
        "paused: 0, needs no_goal for 60 s",
        "paused: 1 for 0 s, needs no_goal for 60 s",
        "paused: 0, needs still",
        "learning: the rules hold",
        "paused: battery unknown: silent, needs >= 0.4",
    ]


def test_a_run_that_is_being_left_is_neither_paused_nor_resumed(robot: Robot) -> None:
    start(robot)
    robot.step(still=0)
    robot.run.is_leaving = True
    robot.run.status = RunStatus(RunState.PAUSED, "left: 0, needs still")
    assert robot.step(still=1) == []
    assert robot.step(no_goal=0) == []
    assert robot.verdicts == ["paused: 0, needs still", "not learning: left: 0, needs still"]


def test_a_value_that_moves_is_no_new_verdict(robot: Robot) -> None:
    for hundredths in range(30):
        robot.step(battery=hundredths / 100)
    assert robot.verdicts == ["not learning: battery 0, needs >= 0.4"]
    found = {str(finding.rule): finding.reason for finding in robot.autopilot.findings}
    assert list(found) == [*WHEN, *WHILE]
    assert found["battery >= 0.4"] == "battery 0.29, needs >= 0.4"


def test_a_signal_that_flutters_all_night_fills_no_log(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "j.json", learn_while=("still for 60 s",))
    for number in range(4 * 600):
        robot.step(0.25, still=number % 2)
    assert 90 < len(robot.verdicts) <= 110
    assert {line[:14] for line in robot.verdicts} == {"not learning: "}
    # Any other verdict is told at once, and so is the last one soon.
    robot.step(0.25, still=0)
    robot.step(59.5, still=0)
    assert robot.verdicts[-1] == "not learning: 0, needs still for 60 s"
    robot.step(0.25, new_samples=0)
    assert robot.verdicts[-1] == "not learning: new_samples 0, needs >= 200"


def test_names_that_differ_in_a_digit_make_another_verdict(tmp_path: Path) -> None:
    rules = tuple(f"topic {name}" for name in ("arm1", "arm2", "arm/3"))
    robot = Robot(tmp_path / "j.json", learn_while=rules)
    robot.signals.update({"arm1": 0, "arm2": 0, "arm/3": 0})
    for name in ("arm1", "arm2", "arm/3"):
        robot.step()
        robot.signals[name] = 1
    assert robot.verdicts == [f"not learning: 0, needs {rule}" for rule in rules]


@pytest.mark.parametrize("silent", WELL)
def test_no_run_begins_while_a_signal_is_silent(robot: Robot, silent: str) -> None:
    for _ in range(200):
        assert robot.step(1.0, **{silent: None}) == []


def test_a_failed_run_is_tried_again_later_and_later(robot: Robot) -> None:
    start(robot)
    waits = []
    for _ in range(12):
        robot.run.end(RunState.FAILED, "lost the server")
        began = robot.now
        while robot.step(10.0) != ["start"]:
            pass
        waits.append(robot.now - began)
    for number, wait_sec in enumerate(waits):
        planned = min(60.0 * 2**number, 3600.0)
        assert 0.5 * planned <= wait_sec <= 1.5 * planned + 20.0
    assert (
        "not learning: the run failed: lost the server; next try by itself at 22:"
        in (robot.verdicts[0])
    )
    robot.run.end()
    assert robot.step() == ["start"]  # a finished run is followed by the next as the rules say


def test_a_robot_that_was_needed_for_long_tries_again_later(robot: Robot) -> None:
    start(robot)
    robot.run.end(RunState.IDLE, "left: 0, needs still; the pause was longer than 1800 s")
    assert robot.step() == []
    assert robot.verdicts[0].startswith(
        "not learning: left: 0, needs still; the pause was longer than 1800 s; next try by itself"
    )
    assert robot.step(29.0) == []
    assert robot.step(62.0) == ["start"]


def test_a_refused_start_is_tried_again_later(robot: Robot) -> None:
    robot.run.refusal = "5 labelled images; min_samples asks for at least 20"
    robot.step()
    assert robot.step(60.0) == ["start"]
    assert robot.step(29.0) == []
    assert robot.verdicts[-1].startswith("not learning: no run could start: 5 labelled images")
    assert robot.step(62.0) == ["start"]


@pytest.mark.parametrize(
    ("detail", "come_back_sec"),
    # It had its model already, or the server had no run: the hour was promised all the same.
    [("the run was left", 0.0), (FINISHED, 0.0), ("the run was left", 30.0)],
)
def test_a_run_that_a_person_left_does_not_begin_again_at_once(
    robot: Robot, detail: str, come_back_sec: float
) -> None:
    start(robot)
    robot.run.was_cancelled, robot.run.come_back_sec = True, come_back_sec
    robot.run.end(RunState.IDLE, detail)
    assert robot.step() == []
    assert "the run was left by hand; next try by itself" in robot.verdicts[-1]
    assert robot.step(3000.0) == []
    assert robot.step(601.0) == ["start"]


@pytest.mark.parametrize(
    ("state", "detail", "reason"),
    [
        (RunState.IDLE, f"{FINISHED}; v00009 is stored", "the server has no run now"),
        (RunState.IDLE, "no run before 02:00", "no run before 02:00"),
    ],
)
def test_a_robot_comes_back_when_the_server_says(
    robot: Robot, state: RunState, detail: str, reason: str
) -> None:
    start(robot)
    robot.run.come_back_sec = 7200.0
    if not detail.startswith(FINISHED):
        robot.run.is_leaving = True
        assert robot.step(0.0) == []
        robot.run.is_leaving = False
    robot.run.end(state, detail)
    assert robot.step() == []
    assert robot.verdicts == [f"not learning: {reason}; next try by itself at Fri 00:01:01"]
    # A robot that comes too early was in no run.
    assert bool(robot.journal.weeks) == detail.startswith(FINISHED)
    assert robot.step(7199.0) == []
    assert robot.step(1.0) == ["start"]
    robot.run.come_back_sec = 35 * 86400.0
    robot.run.end(state, detail)
    robot.step()
    assert robot.verdicts[-1].endswith("; next try by itself at Fri 01 Jan 00:01:01")


def test_a_robot_says_that_it_learns_once_the_server_has_taken_it_in(robot: Robot) -> None:
    robot.run.first_state = RunState.CONNECTING
    start(robot)
    assert robot.step() == []
    assert (robot.verdicts, robot.autopilot.verdict) == ([], "learning: the rules hold")
    robot.run.come_back_sec = 600.0
    robot.run.end(RunState.IDLE, "no run before 23:00")
    robot.step()
    refused = "not learning: no run before 23:00; next try by itself at 22:11:01"
    assert (robot.verdicts, robot.autopilot.verdict) == ([refused], refused)
    robot.run.come_back_sec = 0.0
    assert robot.step(600.0) == ["start"]
    # It breaks with the words of before, and that is told again.
    assert robot.step(still=0) == ["pause 0, needs still"]
    assert robot.step(still=1) == ["resume"]
    assert robot.autopilot.verdict == "learning: the rules hold"
    assert robot.step(still=0) == ["pause 0, needs still"]
    assert robot.step(still=1) == ["resume"]
    robot.run.status = RunStatus(RunState.WAITING)
    robot.step()
    assert robot.verdicts[1:] == [*["paused: 0, needs still"] * 2, "learning: the rules hold"]


def test_the_next_try_is_told_in_the_time_that_clocks_will_show(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        robot.autopilot._local_time = lambda: datetime(2026, 3, 29, 1, 30)
        start(robot)
        robot.run.come_back_sec = 3600.0
        robot.run.end()
        robot.step()
    time.tzset()
    assert robot.verdicts[-1].endswith("next try by itself at 03:30:00")


def test_suggest_says_that_it_would_and_a_person_starts(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "j.json", learn="suggest")
    robot.step()
    assert robot.step(60.0) == []
    assert robot.verdicts[-1] == "would learn: the rules hold; call fl/start_round"
    robot.autopilot.start_by_hand()
    assert robot.step(still=0) == ["pause 0, needs still"]
    # It suggests no run that the server would refuse.
    robot.run.come_back_sec = 7200.0
    robot.run.end(RunState.IDLE, "no run is on")
    robot.step(60.0, still=1)
    assert robot.verdicts[-1] == "not learning: no run is on; would learn at Fri 00:02:01"
    assert robot.step(7200.0) == []
    assert robot.verdicts[-1] == "would learn: the rules hold; call fl/start_round"


def test_a_start_by_hand_ignores_learn_when_and_obeys_learn_while(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "j.json", learn="off", learn_while=("battery >= 0.4",))
    assert robot.step(new_samples=0) == []
    assert robot.verdicts == ["not learning: learn is off; fl/start_round starts a run"]
    robot.signals["battery"] = 0.31
    with pytest.raises(RunRefusedError, match=r"^not learning: battery 0.31, needs >= 0.4$"):
        robot.autopilot.start_by_hand()
    robot.signals["battery"] = 0.5
    robot.autopilot.start_by_hand()
    assert robot.step(0.5, battery=0.1) == []
    assert robot.step(1.0) == ["pause battery 0.1, needs >= 0.4"]


def test_a_start_by_hand_may_ignore_all_rules(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "j.json", start_round_ignores_rules=True)
    robot.step(still=0, battery=0.0, new_samples=0)
    robot.autopilot.start_by_hand()
    assert robot.run.calls == ["start"]
    assert robot.step(10.0) == []
    assert robot.verdicts[-1] == "learning: started by hand, which ignores the rules"
    robot.run.end()
    robot.step(0.5, **WELL)
    assert robot.step(60.0) == ["start"]
    assert robot.step(0.5, still=0) == ["pause 0, needs still"]


def at(text: str) -> float:
    """Return a time of the robot's night as a timestamp."""
    return datetime.fromisoformat(f"2026-11-{text}").timestamp()


def test_a_run_is_told_what_kept_the_robot_from_learning_and_when(robot: Robot) -> None:
    """22:00: it works all night, with stops, and its battery is empty at its dock."""
    for _ in range(60):
        robot.step(60.0, still=0)
        robot.step(60.0, still=1, no_goal=0)
    for hundredths in range(10, 40):
        robot.step(60.0, battery=hundredths / 100, no_goal=1)
    assert robot.step(60.0, battery=0.4) == ["start"]
    first, second, third = robot.run.hindrances
    assert first == Hindrance("0, needs still", at("26 22:01"), at("26 23:59"))
    assert second == Hindrance("0, needs no_goal for 60 s", at("26 22:02"), at("27 00:00"))
    assert third == Hindrance("battery 0.1, needs >= 0.4", at("27 00:01"), at("27 00:30"))
    assert str(third) == "battery 0.1, needs >= 0.4 (Fri 00:01 to 00:30)"
    # A run in which the robot was asked for nothing is no answer to why it does not learn.
    robot.run.end(RunState.FAILED, "no server at cloud:8000")
    robot.step(30.0)
    hindrances = robot.journal.hindrances
    assert [one.reason for one in hindrances[3:]] == ["the run failed: no server at cloud:8000"]
    # They outlive a power cut, but for minutes.
    while robot.step(10.0) != ["start"]:
        pass
    assert Journal(robot.path).hindrances[:3] == hindrances[:3]
    robot.run.status = RunStatus(RunState.FAILED, "lost the server", round=3)
    robot.step(0.1, battery=0.1)
    assert [one.reason for one in robot.journal.hindrances] == ["battery 0.1, needs >= 0.4"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"learn": "suggest"}, "the rules held, and nobody called fl/start_round"),
        ({"learn": "off"}, ""),
        ({"learn": "off", "learn_when": (), "learn_while": ()}, ""),
    ],
)
def test_a_run_by_hand_is_told_what_kept_a_robot_that_looks_at_its_rules(
    tmp_path: Path, settings: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "j.json"
    Journal(path).hinder("0, needs still", at("26 20:00"))
    robot = Robot(path, **settings)
    robot.journal.hinder("0, needs still", at("26 20:00"))
    for _ in range(120):
        robot.step(1.0)
    robot.autopilot.start_by_hand()
    told = [one.reason for one in robot.run.hindrances]
    assert (told[-1] if told else "") == expected


def test_the_oldest_hindrances_are_forgotten_and_times_that_are_none_are_not_read(
    tmp_path: Path,
) -> None:
    path, now = tmp_path / "learning.json", [0.0]
    journal = Journal(path, clock=lambda: now[0])
    for number in range(60):
        journal.hinder("still" * (number + 1), 1e9)
        journal.save()
    assert len(journal.hindrances) == 50
    # At its own pace: the disk hears of time that passes every ten minutes at most.
    assert len(json.loads(path.read_text())["hindrances"]) == 1
    now[0] = 600.0
    journal.save()
    assert Journal(path).hindrances == journal.hindrances
    values = json.loads(path.read_text())
    for wrong in (float("nan"), float("inf"), -1.0, 1e300):
        values["hindrances"][0]["until"] = wrong
        path.write_text(json.dumps(values))
        assert Journal(path).hindrances == journal.hindrances[1:]
    del values["hindrances"]
    path.write_text(json.dumps({**values, "verdicts": ["one"]}))
    assert (Journal(path).hindrances, Journal(path).verdicts) == ((), ["one"])


def test_a_robot_without_rules_says_nothing_and_counts_its_runs(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "j.json", learn="off", learn_when=(), learn_while=())
    assert robot.step() == []
    robot.autopilot.start_by_hand()
    robot.step()
    robot.run.end()
    robot.step()
    assert (robot.verdicts, robot.autopilot.verdict) == ([], "")
    assert robot.journal.weeks == {"2026-W48": {"-v[]+^": 1}}


def test_what_is_remembered_outlives_a_restart(robot: Robot, tmp_path: Path) -> None:
    start(robot)
    robot.run.end()
    robot.autopilot.follow_run()
    again = Journal(tmp_path / "learning.json")
    ended = datetime(2026, 11, 26, 22) + timedelta(seconds=robot.now)
    assert again.finished == FinishedRun(ended.timestamp(), newest_id=7, labelled=5)
    assert again.weeks == {"2026-W48": {"-v[]+^": 1}}
    assert again.verdicts[-1] == "2026-11-26 22:01:00 learning: the rules hold"
    for number in range(101):
        again.add_verdict(str(number), ended)
    for number in range(13):
        again.add_run(f"shape {number}", ended + timedelta(weeks=number), None)
    third = Journal(tmp_path / "learning.json")
    assert len(third.verdicts) == 100
    assert third.verdicts[-1].endswith(" 100")
    assert len(third.weeks) == 12
    assert third.finished == again.finished


def journal_with(ended_at: str = "1.0", newest_id: str = "7", verdicts: str = "[]") -> str:
    run = f'{{"ended_at": {ended_at}, "newest_id": {newest_id}, "labelled": 5}}'
    return f'{{"finished_run": {run}, "runs_by_week": {{}}, "verdicts": {verdicts}}}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"verdicts": 1}', '{"finished_run": {}}', "\0"),
        # NaN hours since the last run would never be enough; SQLite takes no such id.
        *(journal_with(ended_at="NaN"), journal_with(newest_id="Infinity")),
        *(journal_with(newest_id="1" + "0" * 30), journal_with(verdicts="3")),
    ],
)
def test_a_damaged_journal_begins_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "learning.json"
    path.write_text(text)
    journal = Journal(path)
    assert (journal.finished, journal.verdicts, journal.weeks) == (None, [], {})
    assert "cannot be read, and begins anew" in caplog.text
    journal.add_verdict("learning", datetime(2026, 11, 26))
    journal.save()
    assert json.loads(path.read_text())["verdicts"] == ["2026-11-26 00:00:00 learning"]


def test_a_robot_that_stops_and_goes_writes_every_ten_seconds_at_most(tmp_path: Path) -> None:
    path, now = tmp_path / "learning.json", [0.0]
    journal = Journal(path, clock=lambda: now[0])
    written = []
    for tenths in range(300):
        now[0] = tenths / 10
        journal.add_verdict(str(tenths), datetime(2026, 11, 26))
        journal.save()
        newest = json.loads(path.read_text())["verdicts"][-1].split()[-1]
        written += [newest] if newest not in written else []
    assert written == ["0", "100", "200"]
    journal.save(at_once=True)
    assert Journal(path).verdicts == journal.verdicts


def test_a_journal_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "absent" / "learning.json")
    for _ in range(3):
        journal.add_verdict("learning", datetime(2026, 11, 26))
        journal.save(at_once=True)
    assert caplog.text.count("cannot be written") == 1
    assert len(journal.verdicts) == 3
