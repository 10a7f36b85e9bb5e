"""What kept a robot from learning, in the time of a run."""

from __future__ import annotations

from datetime import datetime, timedelta

from fl_robot_ros.worker_link.hindrance import Hindrance, hindrance_between

NIGHT = datetime(2026, 11, 25, 22)


def hindrance(reason: str, begin_h: float, end_h: float) -> Hindrance:
    """Return what was there from some hours after 22:00 until others."""
    begin, end = (NIGHT + timedelta(hours=hours) for hours in (begin_h, end_h))
    return Hindrance(reason, begin.timestamp(), end.timestamp())


def test_what_held_longest_in_the_time_of_the_run_is_the_reason() -> None:
    samples = hindrance("new_samples 3, needs >= 200", -20.0, -4.0)
    day = hindrance("clock 18:00, needs in 22:00-05:00", -4.0, 0.0)
    goal = hindrance("a goal is active on navigate_to_pose, needs no_goal for 60 s", 0.0, 4.1)
    battery = hindrance("battery 0.31, needs >= 0.4", 4.0, 7.0)
    charging = hindrance("charging for 0 s, needs charging for 30 s", 7.0, 7.01)
    all_of_them = [samples, day, goal, battery, charging]

    def between(begin_h: float, end_h: float) -> Hindrance | None:
        run = hindrance("", begin_h, end_h)
        return hindrance_between(all_of_them, run.since, run.until)

    assert between(4.0, 5.0) == battery
    assert between(3.0, 4.5) == goal
    assert between(-30.0, 30.0) == samples
    # The robot was off, or in the run.
    assert between(8.0, 9.0) is None
    assert between(-30.0, -20.0) is None
    assert hindrance_between([], 0.0, 1.0) is None


def test_a_hindrance_is_one_line_with_its_time() -> None:
    assert str(hindrance("battery 0.31", 0.05, 1.5)) == "battery 0.31 (Wed 22:03 to 23:30)"
    assert str(hindrance("battery 0.31", 0.05, 6.2)) == "battery 0.31 (Wed 22:03 to Thu 04:12)"
    assert str(hindrance("silent", 0.0, 24.0 * 9)) == "silent (25 Nov 22:00 to 04 Dec 22:00)"
    text = str(hindrance("no\n\x1b[2J" + "x" * 1000, 0.0, 1.0))
    assert text.isprintable()
    assert len(text) < 240


def test_it_goes_on_with_other_values_and_after_minutes() -> None:
    battery = hindrance("battery 0.31, needs >= 0.4", 0.0, 1.0)
    assert battery.goes_on("battery 0.35, needs >= 0.4", battery.until + 599.0)
    assert not battery.goes_on("battery 0.35, needs >= 0.4", battery.until + 600.0)
    assert not battery.goes_on("battery unknown: silent, needs >= 0.4", battery.until)
    lamp = battery._replace(reason="lamp_1 is false, needs topic lamp_1")
    assert not lamp.goes_on("lamp_2 is false, needs topic lamp_2", lamp.until)
    # A robot without a battery for its clock begins in 1970.
    assert not battery.goes_on(battery.reason, 5.0)
