"""The battery, from sensor_msgs/BatteryState."""

from __future__ import annotations

import math

from fl_robot_ros.autonomy.reading import Reading

# BatteryState.power_supply_status.
_UNKNOWN, _CHARGING, _DISCHARGING, _NOT_CHARGING, _FULL = range(5)
_STATUS_NAMES = ("charging unknown", "charging", "discharging", "not charging", "full")
# Current in A above which a battery of unknown status is charging.
_CHARGING_CURRENT_A = 0.05
# A share of the capacity may be a little above 1 by rounding.
_ROUNDING = 1e-3


class Battery:
    """Follows a battery. Some drivers count in per cent, which shows at the first value above 1.

    Attributes:
        counts_percent: Whether a value above 1 has come, so that all are per cent from then on.
    """

    def __init__(self, topic: str, timeout_sec: float) -> None:
        """Know nothing yet.

        Args:
            topic: Name of the topic, for people.
            timeout_sec: Silence in s after which nothing is known.
        """
        self.counts_percent = False
        self._topic = topic
        self._timeout_sec = timeout_sec
        self._heard_at: float | None = None
        self._percentage = math.nan
        self._status = _UNKNOWN
        self._current_a = math.nan
        self._is_present = False

    def take(
        self, percentage: float, status: int, current_a: float, *, is_present: bool, now: float
    ) -> None:
        """Take a message.

        Args:
            percentage: Charge, 0 to 1, or 0 to 100; NaN where it is not measured.
            status: The field power_supply_status.
            current_a: Current in A, negative when discharging; NaN where it is not measured.
            is_present: The field present.
            now: Monotonic time in s.
        """
        self._heard_at = now
        self._percentage, self._status, self._current_a = percentage, status, current_a
        self._is_present = is_present
        if 1.0 + _ROUNDING < percentage <= 100.0 + _ROUNDING:
            self.counts_percent = True

    def charge(self, now: float) -> Reading:
        """Return the charge, 0 to 1."""
        problem = self._problem(now)
        if problem:
            return Reading.unknown(problem)
        full = 100.0 if self.counts_percent else 1.0
        # The field has 32 bits: 0.7 comes as 0.69999999.
        share = round(self._percentage / full, 6)
        if not -_ROUNDING <= share <= 1.0 + _ROUNDING:  # also NaN
            return Reading.unknown(f"percentage on {self._topic} is {self._percentage:g}")
        # Rounded down: 0.3999 is not 0.40 where 0.4 is needed.
        return Reading(share, f"{math.floor(share * 100 + 1e-6) / 100:.2f}")

    def is_charging(self, now: float) -> Reading:
        """Return whether the battery is charging, or full and not discharging."""
        problem = self._problem(now)
        if problem:
            return Reading.unknown(problem)
        if self._status == _UNKNOWN and self._current_a > _CHARGING_CURRENT_A:
            return Reading(1, f"charging with {self._current_a:.2f} A")
        name = _STATUS_NAMES[self._status] if self._status < len(_STATUS_NAMES) else "unknown"
        if self._status == _UNKNOWN:
            name += f" at {self._current_a:.2f} A"
        return Reading(int(self._status in (_CHARGING, _FULL)), name)

    def _problem(self, now: float) -> str:
        """Return why nothing is known, "" where something is."""
        if self._heard_at is None:
            return f"no message on {self._topic} yet"
        silent_sec = now - self._heard_at
        if silent_sec > self._timeout_sec:
            return f"no message on {self._topic} for {silent_sec:.0f} s"
        if not self._is_present:
            return f"'present' on {self._topic} is false"
        return ""
