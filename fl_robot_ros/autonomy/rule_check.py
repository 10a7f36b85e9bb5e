"""Whether a rule holds, from one reading of its signal to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.autonomy.rules import Rule

# A rule that holds may fail for so long while the robot learns: a battery that a motor's start
# pulls down for a moment is not empty. Urgent rules have no such time.
_PATIENCE_SEC = 1.0


@dataclass(frozen=True)
class Finding:
    """Whether a rule holds.

    Attributes:
        rule: The rule.
        holds: Whether it does.
        measured: The value, or why it is unknown.
        reason: What is and what is needed, as in "battery 0.31, needs >= 0.4".
    """

    rule: Rule
    holds: bool
    measured: str
    reason: str


class RuleCheck:
    """Follows one rule. What is unknown does not hold."""

    def __init__(self, rule: Rule) -> None:
        """Start with a rule that does not hold."""
        self.rule = rule
        self._holds = False
        # Monotonic times in s since which the rule is met, and since which it fails.
        self._met_since: float | None = None
        self._failing_since: float | None = None

    def check(self, reading: Reading, now: float, *, while_learning: bool) -> Finding:
        """Take a reading; return whether the rule holds.

        Args:
            reading: The newest reading of the rule's signal.
            now: Monotonic time in s, not before that of the last call.
            while_learning: Whether a run is on. A rule that holds then breaks only when battery or
                temperature are beyond their margin, and after a second if it is not urgent.
        """
        rule, value = self.rule, reading.value
        if value is None or not reading.is_known:
            self._holds, self._met_since, self._failing_since = False, None, None
            text = reading.text if value is None else "it is not a number"
            return self._finding(f"unknown: {text}", is_known=False, met_sec=0.0)
        if not rule.is_met(value):
            self._met_since = None
        elif self._met_since is None:
            self._met_since = now
        # An interruption between two readings counts.
        met_since = None if self._met_since is None else max(self._met_since, reading.since)
        met_sec = 0.0 if met_since is None else now - met_since
        has_begun = met_since is not None and met_sec >= rule.for_sec
        self._holds = has_begun or (while_learning and self._holds and self._goes_on(value, now))
        if self._holds and rule.is_met(value, while_learning=True):
            self._failing_since = None
        return self._finding(reading.text, is_known=True, met_sec=met_sec)

    def _goes_on(self, value: float, now: float) -> bool:
        """Say whether a rule that held goes on while the robot learns."""
        if self.rule.is_urgent:
            return False
        if self.rule.is_met(value, while_learning=True):
            return True
        if self._failing_since is None:
            self._failing_since = now
        return now - self._failing_since < _PATIENCE_SEC

    def _finding(self, measured: str, *, is_known: bool, met_sec: float) -> Finding:
        rule = self.rule
        if is_known and self._met_since is not None and rule.for_sec and not self._holds:
            # Not above what is needed, however it is rounded.
            measured += f" for {math.floor(max(met_sec, 0.0))} s"
        named = measured
        if not is_known or rule.requirement != rule.text:
            named = f"{rule.topic or rule.signal} {measured}"
        return Finding(rule, self._holds, measured, f"{named}, needs {rule.requirement}")
