"""Random lives of an autopilot, against what docs/autonomy.md promises."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_autopilot import FakeRun

from fl_robot_ros.autonomy.autopilot import Autopilot
from fl_robot_ros.autonomy.journal import Journal
from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.autonomy.rules import LearningRules, Rule
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import RunRefusedError
from fl_robot_ros.worker_link.run_status import FINISHED, RunState, RunStatus

STEP_SEC, PATIENCE_SEC, HOUR_SEC = 0.25, 1.0, 3600.0
SETTINGS = {
    "learn_when": ("new_samples >= 200",),
    "learn_while": ("charging for 2 s", "battery >= 0.4", "still for 3 s", "no_goal"),
}
# Of each signal: the least value, that while learning, and for how long, in s.
LEAST = {
    "new_samples": (200.0, -math.inf, 0.0),
    "charging": (1.0, 1.0, 2.0),
    "battery": (0.4, 0.35, 0.0),
    "still": (1.0, 1.0, 3.0),
    "no_goal": (1.0, 1.0, 0.0),
}
GOOD = {"new_samples": 300.0, "charging": 1.0, "battery": 0.8, "still": 1.0, "no_goal": 1.0}
NAMES, SECONDS = st.sampled_from([*GOOD]), st.sampled_from([0.0, 0.5, 1.5, 4.0])
# A signal is bad for some time; a run ends, and some time passes; a person calls.
EVENTS = st.one_of(
    st.tuples(NAMES, st.sampled_from([0.0, 0.3, 0.36, None]), SECONDS, SECONDS),
    st.tuples(
        st.sampled_from([FINISHED, "failed", "left"]),
        st.sampled_from([0.0, 500.0, 9000.0]),
        st.booleans(),
        st.sampled_from([20.0, 200.0, 4000.0]),
    ),
    st.tuples(st.sampled_from(["start by hand", "refuse", "set the clock"])),
)


class Life:
    """An autopilot, and what it may and must do."""

    def __init__(self, mode: str, ignores_by_hand: bool) -> None:
        settings = ClientSettings(
            learn=mode, start_round_ignores_rules=ignores_by_hand, **SETTINGS
        )
        self.mode, self.is_free, self.is_free_by_hand = mode, False, ignores_by_hand
        self.signals: dict[str, float | None] = dict(GOOD)
        self.run = FakeRun()
        self.now, self.wall_sec = 0.0, 0.0
        self.met_since: dict[str, float] = {}
        self.bad_since: dict[str, float] = {}
        self.not_before, self.failures, self.is_paused = 0.0, 0, False
        self.autopilot = Autopilot(
            settings,
            LearningRules.from_settings(settings),
            self.read,
            self.run,
            Journal(Path("/proc/none")),
            lambda _: None,
            clock=lambda: self.now,
            local_time=lambda: datetime(2026, 3, 29) + timedelta(seconds=self.wall_sec),
        )

    def read(self, rule: Rule, now: float) -> Reading:
        value = self.signals[rule.signal]
        return Reading(math.nan if value is None else value, "?")

    def holds(self, *signals: str) -> bool:
        since = [self.now - self.met_since.get(name, math.inf) for name in signals]
        return all(sec >= LEAST[name][2] for sec, name in zip(since, signals, strict=True))

    def observe(self) -> None:
        for name, (least, least_learning, _) in LEAST.items():
            value = self.signals[name]
            if value is None or value < least:
                self.met_since.pop(name, None)
            else:
                self.met_since.setdefault(name, self.now)
            is_bad = self.run.status.is_active and (value is None or value < least_learning)
            is_urgent = value is None or name in ("still", "no_goal")
            if not is_bad:
                self.bad_since.pop(name, None)
            else:
                since = self.now - PATIENCE_SEC if is_urgent else self.now
                self.bad_since[name] = min(self.bad_since.get(name, math.inf), since)

    def step(self) -> None:
        """Step, and compare."""
        self.observe()
        self.run.calls.clear()
        was_active = self.run.status.is_active
        self.autopilot.step()
        for call in self.run.calls:
            if call == "start":
                assert not was_active
                assert self.mode == "auto"
                assert self.holds(*LEAST)
                assert self.now >= self.not_before
                self.is_free = self.is_paused = False
                if self.run.refusal:
                    self.fail()
            else:
                self.is_paused = call != "resume"
        if self.run.status.is_active and was_active:
            rules = [*LEAST][1:]
            broken = [name for name in rules if self.bad_for(name) >= PATIENCE_SEC]
            assert self.is_paused or self.is_free or not broken
            assert not self.is_paused or not (self.is_free or self.holds(*rules))

    def bad_for(self, name: str) -> float:
        return self.now - self.bad_since.get(name, math.inf)

    def fail(self) -> None:
        """Back off, half of the planned time at least."""
        self.not_before = self.now + 0.5 * min(60.0 * 2**self.failures, HOUR_SEC)
        self.failures += 1

    def start_by_hand(self) -> None:
        self.observe()
        may = self.is_free_by_hand or self.holds(*[*LEAST][1:])
        if self.run.status.is_active:
            return
        try:
            self.autopilot.start_by_hand()
            assert may
            self.is_free, self.is_paused = self.is_free_by_hand, False
        except RunRefusedError:
            assert self.run.refusal or not may

    def end(self, detail: str, come_back_sec: float, *, was_cancelled: bool) -> None:
        """End the run, if there is one; expect the next one not before its time."""
        if not self.run.status.is_active:
            return
        self.run.come_back_sec, self.run.was_cancelled = come_back_sec, was_cancelled
        self.run.status = RunStatus(
            RunState.FAILED if detail == "failed" else RunState.IDLE, detail
        )
        self.bad_since.clear()
        self.failures = 0 if detail == FINISHED else self.failures
        wait_sec = max(come_back_sec, HOUR_SEC if was_cancelled else 0.0)
        if wait_sec or detail == FINISHED:
            self.not_before = self.now + wait_sec
        else:
            self.fail()

    def pass_time(self, seconds: float, steps: int = 0) -> None:
        """Let time pass, in steps of a quarter of a second or fewer ones."""
        number = steps or round(seconds / STEP_SEC)
        for _ in range(number):
            self.now += seconds / number
            self.wall_sec += seconds / number
            self.step()


@given(st.lists(EVENTS, max_size=12), st.sampled_from(["auto", "suggest", "off"]), st.booleans())
def test_whatever_happens_the_robot_keeps_its_promises(
    events: list[tuple[Any, ...]], mode: str, ignores_by_hand: bool
) -> None:
    life = Life(mode, ignores_by_hand)
    life.pass_time(4.0)
    assert life.run.status.is_active == (mode == "auto")
    for what, *values in events:
        if what in GOOD:
            life.signals[what], bad_sec, good_sec = values
            life.pass_time(bad_sec)
            life.signals[what] = GOOD[what]
            life.pass_time(good_sec)
        elif what == "start by hand":
            life.start_by_hand()
        elif what == "refuse":
            life.run.refusal = "" if life.run.refusal else "too few images"
        elif what == "set the clock":
            life.wall_sec -= 5 * HOUR_SEC
        else:
            come_back_sec, was_cancelled, seconds = values
            life.end(what, come_back_sec, was_cancelled=was_cancelled)
            life.pass_time(seconds, steps=5)
        life.step()
