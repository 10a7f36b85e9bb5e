"""The autopilot: starts, pauses and resumes runs as the rules say, and says why.

idle --rules hold--> learning <--learn_while breaks, holds--> paused
  ^--- finished, failed (next try later) ---'
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from fl_robot_ros.autonomy.finished_run import FinishedRun
from fl_robot_ros.autonomy.journal import Journal
from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.autonomy.rule_check import Finding, RuleCheck
from fl_robot_ros.autonomy.rules import LearningRules, Rule
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import FlRobotError, RunRefusedError
from fl_robot_ros.worker_link.hindrance import Hindrance, without_numbers
from fl_robot_ros.worker_link.run_status import RunState, RunStatus

# Wait before the next try, in s: twice as long after each failure, times 0.5 to 1.5.
_FIRST_WAIT_SEC = 60.0
_LONGEST_WAIT_SEC = 3600.0
# Most lines about one rule in so many s.
_MOST_LINES, _LINES_SEC = 10, 60.0
_LEARNING = "learning: the rules hold"
_LEARNING_ANYWAY = "learning: started by hand, which ignores the rules"


class Run(Protocol):
    """The robot's runs: `RunControl`, or a double in a test."""

    @property
    def status(self) -> RunStatus:
        """The state now."""

    @property
    def is_leaving(self) -> bool:
        """Whether the worker leaves the run, and will not learn any more."""

    @property
    def shape(self) -> str:
        """The shape of the newest run."""

    @property
    def newest_id(self) -> int:
        """Id of the newest sample of the newest run."""

    @property
    def was_cancelled(self) -> bool:
        """Whether a person had the robot leave the newest run."""

    @property
    def come_back_sec(self) -> float:
        """For how long the newest run's server has no other; 0: unknown."""

    def start(self, hindrances: Sequence[Hindrance]) -> Future[str]:
        """Start a run, given what kept the robot from it; may raise an FlRobotError."""

    def pause(self, reason: str) -> None:
        """Hold the run."""

    def resume(self) -> None:
        """Let the run go on."""


class Autopilot:
    """Follows rules and runs, from one call of `step` to the next. Belongs to one thread.

    `step` is called when a signal or the run changes, and some times a second.
    """

    def __init__(
        self,
        settings: ClientSettings,
        rules: LearningRules,
        read: Callable[[Rule, float], Reading],
        run: Run,
        journal: Journal,
        on_verdict: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        local_time: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Start in the state of the run.

        Args:
            settings: The client's settings.
            rules: Its rules.
            read: Returns the reading of a rule's signal at a monotonic time in s.
            run: The robot's runs.
            journal: What outlives a restart.
            on_verdict: Called with each new verdict, one line.
            clock: Returns a monotonic time in s.
            local_time: Returns the local time.
        """
        self._mode = settings.learn
        self._ignores_rules_by_hand = settings.start_round_ignores_rules
        self._read = read
        self._run = run
        self._journal = journal
        self._on_verdict = on_verdict
        self._clock = clock
        self._local_time = local_time
        self._to_begin = [RuleCheck(rule) for rule in rules.to_begin]
        self._to_go_on = [RuleCheck(rule) for rule in rules.to_go_on]
        self._has_rules = bool(self._to_begin or self._to_go_on)
        self._findings: tuple[Finding, ...] = ()
        self._was_active = False
        self._obeys_rules = True
        self._paused_by: Rule | None = None
        self._failures = 0
        self._not_before = -1.0  # monotonic time in s of the next try
        self._hold_off = ""  # why there is none before
        self._next_try = ""  # its local time
        self._verdict = ""
        self._verdict_key: object = None  # what makes it another verdict
        self._verdict_about: object = None
        self._told_at: deque[float] = deque(maxlen=_MOST_LINES)  # of the verdicts about that

    @property
    def verdict(self) -> str:
        """Whether the robot learns, and why, in one line; "" where it has no rules."""
        return self._verdict

    @property
    def findings(self) -> Sequence[Finding]:
        """The newest finding of each rule, in the order of the settings."""
        return self._findings

    def step(self) -> None:
        """Read the signals; start, pause or resume; say what changed."""
        self._decide()
        self._journal.save()

    def _decide(self) -> None:
        self.follow_run()
        is_active = self._was_active
        now = self._clock()
        go_on = self._check(self._to_go_on, now, while_learning=is_active)
        begin = self._check(self._to_begin, now, while_learning=False)
        self._findings = (*begin, *go_on)
        if is_active:
            self._steer(_first_broken(go_on, self._paused_by))
            return
        if not self._has_rules:
            return
        # A start by hand needs the latter alone.
        broken = _first_broken(go_on if self._mode == "off" else (*begin, *go_on))
        if broken is not None:
            self._hinder(broken.reason)
            self._say(f"not learning: {broken.reason}", broken.rule)
        elif now < self._not_before and self._mode != "off":
            self._hinder(self._hold_off)
            self._say_hold_off()
        elif self._mode == "auto":
            self._begin()
        elif self._mode == "suggest":
            self._hinder("the rules held, and nobody called fl/start_round")
            self._say("would learn: the rules hold; call fl/start_round")
        else:
            self._say("not learning: learn is off; fl/start_round starts a run")

    def start_by_hand(self) -> Future[str]:
        """Start a run as `fl/start_round` does: `learn_when` and a wait are ignored.

        Returns:
            As `RunControl.start` does.

        Raises:
            FlRobotError: As `RunControl.start` does, or a rule of `learn_while` does not hold.
        """
        self.follow_run()
        if not (self._was_active or self._ignores_rules_by_hand):
            go_on = self._check(self._to_go_on, self._clock(), while_learning=False)
            broken = _first_broken(go_on)
            if broken is not None:
                raise RunRefusedError(f"not learning: {broken.reason}")
        return self._start(obeys_rules=not self._ignores_rules_by_hand)

    def follow_run(self) -> None:
        """Take the end of a run, and start none."""
        status = self._run.status
        if status.is_active or not self._was_active:
            self._was_active = status.is_active
            return
        self._was_active, self._paused_by = False, None
        at = self._local_time()
        finished = FinishedRun(at.timestamp(), self._run.newest_id, status.samples)
        if status.is_finished or status.round:
            self._journal.forget_hindrances()
        come_back_sec = self._run.come_back_sec
        if status.is_finished or not come_back_sec:  # else there was no run
            self._journal.add_run(self._run.shape, at, finished if status.is_finished else None)
        if status.is_finished:
            self._failures, self._not_before = 0, -1.0
        if self._run.was_cancelled:  # A person's word counts, also where it came too late.
            self._wait(max(_LONGEST_WAIT_SEC, come_back_sec), "the run was left by hand")
        elif come_back_sec:
            no_run = "the server has no run now" if status.is_finished else status.detail
            self._wait(come_back_sec, no_run)
        elif not status.is_finished:
            is_fault = status.state == RunState.FAILED
            self._wait_longer(f"the run failed: {status.detail}" if is_fault else status.detail)

    def _check(
        self, checks: Sequence[RuleCheck], now: float, *, while_learning: bool
    ) -> list[Finding]:
        return [
            check.check(self._read(check.rule, now), now, while_learning=while_learning)
            for check in checks
        ]

    def _steer(self, broken: Finding | None) -> None:
        """Pause or resume the run that is on."""
        if self._run.is_leaving:
            # A server without a run is told with the next try, in a moment.
            if self._has_rules and not self._run.come_back_sec:
                self._say(f"not learning: {self._run.status.detail}")
            return
        if not self._obeys_rules or broken is None:
            if self._paused_by is not None:
                self._paused_by = None
                self._run.resume()
            if self._has_rules:
                self._say_learning()
            return
        if self._paused_by != broken.rule:
            self._paused_by = broken.rule
            self._run.pause(broken.reason)
        self._say(f"paused: {broken.reason}", broken.rule)

    def _begin(self) -> None:
        """Start a run by the rules."""
        try:
            self._start(obeys_rules=True)
        except FlRobotError as error:
            self._wait_longer(f"no run could start: {error}")
            self._say_hold_off()
        else:
            self._say_learning()

    def _start(self, *, obeys_rules: bool) -> Future[str]:
        started = self._run.start(() if self._mode == "off" else self._journal.hindrances)
        self._was_active, self._obeys_rules, self._paused_by = True, obeys_rules, None
        return started

    def _wait_longer(self, why: str) -> None:
        """Try again after twice the last wait."""
        wait_sec = min(_FIRST_WAIT_SEC * 2**self._failures, _LONGEST_WAIT_SEC)
        self._failures = min(self._failures + 1, 16)
        # Robots that failed together shall not come again together.
        self._wait(wait_sec * random.uniform(0.5, 1.5), why)

    def _wait(self, seconds: float, why: str) -> None:
        self._not_before = self._clock() + seconds
        now = self._local_time()
        until = datetime.fromtimestamp(now.timestamp() + seconds)  # the hour may change
        days = (until.date() - now.date()).days
        day = "%a %d %b " if days > 6 else "%a " if days else ""
        self._hold_off, self._next_try = why, until.strftime(f"{day}%H:%M:%S")

    def _hinder(self, reason: str) -> None:
        """Remember what keeps a robot from learning that would learn by its rules."""
        if self._mode != "off":
            self._journal.hinder(reason, self._local_time().timestamp())

    def _say_learning(self) -> None:
        verdict = _LEARNING if self._obeys_rules else _LEARNING_ANYWAY
        if self._run.status.state == RunState.CONNECTING:
            # True, and told once the server has taken the robot in: it may have no run now.
            self._verdict, self._verdict_key = verdict, None
        else:
            self._say(verdict)

    def _say_hold_off(self) -> None:
        what = "next try by itself" if self._mode == "auto" else "would learn"
        self._say(f"not learning: {self._hold_off}; {what} at {self._next_try}")

    def _say(self, verdict: str, rule: Rule | None = None) -> None:
        """Tell a verdict, unless it is that of before with other numbers.

        Of a rule whose signal flutters, as the odometry of a robot at rest may, not each is told.
        """
        key = without_numbers(verdict), self._not_before
        if key == self._verdict_key:
            return
        now, about = self._clock(), (verdict.partition(":")[0], rule)
        if about != self._verdict_about:
            self._told_at.clear()
        elif len(self._told_at) == _MOST_LINES and now - self._told_at[0] < _LINES_SEC:
            return
        self._told_at.append(now)
        self._verdict_about = about
        self._verdict_key, self._verdict = key, verdict
        self._on_verdict(verdict)
        self._journal.add_verdict(verdict, self._local_time())


def _first_broken(findings: Sequence[Finding], before: Rule | None = None) -> Finding | None:
    """Return the first rule that does not hold; the one of before as long as it does not."""
    broken = [finding for finding in findings if not finding.holds]
    return min(broken, key=lambda finding: finding.rule != before, default=None)
