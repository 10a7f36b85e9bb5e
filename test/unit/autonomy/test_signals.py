"""What the signals say, with the traps of real robots."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from fl_robot_ros.autonomy import machine
from fl_robot_ros.autonomy.action_goals import ActionGoals
from fl_robot_ros.autonomy.battery import Battery
from fl_robot_ros.autonomy.motion import Motion
from fl_robot_ros.autonomy.permission import Permission

UNKNOWN, CHARGING, DISCHARGING, NOT_CHARGING, FULL = range(5)
OLD, NEW = frozenset({"old"}), frozenset({"new"})
NOBODY: frozenset[object] = frozenset()


def battery(
    *percentages: float,
    status: int = DISCHARGING,
    current_a: float = math.nan,
    is_present: bool = True,
) -> Battery:
    made = Battery("/battery", 10.0)
    for percentage in percentages:
        made.take(percentage, status, current_a, is_present=is_present, now=0.0)
    return made


@pytest.mark.parametrize(
    ("percentages", "text"),
    [
        ((0.319,), "0.31"),
        ((0.699999988079071,), "0.70"),  # 0.7 in 32 bits
        ((1.0,), "1.00"),
        ((1.0000001,), "1.00"),  # a rounding, and no per cent
        ((0.9,), "0.90"),  # nothing is guessed below 1
        ((82.0,), "0.82"),
        ((82.0, 0.9), "0.00"),  # per cent from then on
        ((100.0,), "1.00"),
    ],
)
def test_the_charge_of_a_battery(percentages: tuple[float, ...], text: str) -> None:
    reading = battery(*percentages).charge(1.0)
    assert reading.text == text
    assert reading.value == pytest.approx(float(text), abs=0.011)


@pytest.mark.parametrize("percentage", [math.nan, -1.0, -0.5, 101.0, 255.0, math.inf])
def test_a_charge_that_is_none_is_unknown(percentage: float) -> None:
    made = battery(percentage)
    assert not made.counts_percent
    assert not made.charge(1.0).is_known
    assert made.charge(1.0).text == f"percentage on /battery is {percentage:g}"


@pytest.mark.parametrize(
    ("status", "current_a", "is_charging", "text"),
    [
        (CHARGING, math.nan, True, "charging"),
        (FULL, -0.1, True, "full"),
        (DISCHARGING, 2.0, False, "discharging"),
        (NOT_CHARGING, 2.0, False, "not charging"),
        (UNKNOWN, 0.06, True, "charging with 0.06 A"),
        (UNKNOWN, 0.04, False, "charging unknown at 0.04 A"),
        (UNKNOWN, math.nan, False, "charging unknown at nan A"),
        (77, 1.0, False, "unknown"),
    ],
)
def test_whether_a_battery_is_charging(
    status: int, current_a: float, is_charging: bool, text: str
) -> None:
    reading = battery(0.5, status=status, current_a=current_a).is_charging(1.0)
    assert (reading.value, reading.text) == (is_charging, text)


def test_a_battery_that_is_silent_or_not_present_is_unknown() -> None:
    for made, now, reason in (
        (battery(), 1.0, "no message on /battery yet"),
        (battery(0.5), 10.1, "no message on /battery for 10 s"),
        (battery(0.5, is_present=False), 1.0, "'present' on /battery is false"),
    ):
        for reading in (made.charge(now), made.is_charging(now)):
            assert (reading.is_known, reading.text) == (False, reason)


def test_a_goal_is_active_only_while_its_server_lives() -> None:
    goals = ActionGoals(["nav", "dock"])
    assert goals.no_goal(0.0).text == "there has been no server of nav, dock"
    goals.see("nav", OLD, is_latched=True, now=0.0)
    assert goals.no_goal(3.5).text == "the server of nav has just come"
    assert goals.no_goal(5.0).value == 1  # it has not had a goal: it published nothing
    for code in (1, 2, 3):
        goals.take("nav", [4, code, 6], 6.0)
        assert goals.no_goal(6.0).value == 0
        assert goals.no_goal(6.0).text == "a goal is active on nav"
    goals.take("nav", [4, 5, 6], 7.0)
    assert (goals.no_goal(8.0).value, goals.no_goal(8.0).since) == (1, 7.0)
    # It crashes with a goal, whose status stays for ever.
    goals.take("nav", [2], 9.0)
    goals.see("nav", OLD, is_latched=True, now=20.0)
    assert goals.no_goal(20.0).value == 0
    goals.see("nav", NOBODY, is_latched=True, now=21.0)
    assert (goals.no_goal(21.0).value, goals.no_goal(21.0).since) == (1, 21.0)
    # It comes again, and has no goal before its first status.
    goals.see("nav", NEW, is_latched=True, now=30.0)
    assert not goals.no_goal(31.0).is_known
    assert goals.no_goal(36.0).value == 1


def test_a_server_that_starts_again_between_two_looks_has_none_of_the_old_goals() -> None:
    goals = ActionGoals(["nav"])
    goals.see("nav", OLD, is_latched=True, now=0.0)
    goals.take("nav", [2], 1.0)
    goals.see("nav", NEW, is_latched=True, now=3.0)
    assert goals.no_goal(9.0).value == 1


@pytest.mark.parametrize("before", [NOBODY, OLD])
def test_a_goal_that_comes_before_the_graph_shows_its_server_counts(
    before: frozenset[object],
) -> None:
    goals = ActionGoals(["nav"])
    goals.see("nav", before, is_latched=True, now=0.0)
    goals.take("nav", [2], 10.0)
    assert goals.no_goal(10.0).value == 0
    goals.see("nav", before, is_latched=True, now=10.8)
    goals.see("nav", NEW, is_latched=True, now=11.2)  # it showed just before 11.0
    goals.see("nav", NEW, is_latched=True, now=20.0)
    assert goals.no_goal(20.0).value == 0


def test_a_server_whose_last_status_is_not_to_be_had_is_unknown_until_its_first() -> None:
    goals = ActionGoals(["nav"])
    goals.see("nav", OLD, is_latched=False, now=0.0)
    assert goals.no_goal(100.0).text == "no status of nav yet"
    goals.take("nav", [], 101.0)
    assert goals.no_goal(101.0).value == 1


def motion(topic: str = "cmd_vel", *, is_measured: bool = False) -> Motion:
    made = Motion([topic], 10.0)
    made.see(topic, "", is_measured=is_measured)
    return made


STOP, DRIVE = [0.0] * 6, [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_a_robot_moves_by_its_commands_and_silence_is_still() -> None:
    made = Motion(["cmd_vel"], 10.0)
    assert made.is_still(0.0).text == "cmd_vel: nobody has published it yet"
    made = motion()
    assert made.is_still(0.0).value == 1
    made.take("cmd_vel", STOP, 1.0)
    assert made.is_still(1.0).value == 1
    made.take("cmd_vel", DRIVE, 2.0)
    made.take("cmd_vel", [0, 0, 0, 0, 0, -0.2], 2.5)
    assert (made.is_still(2.6).value, made.is_still(2.6).text) == (0, "moving on cmd_vel")
    assert (made.is_still(60.0).value, made.is_still(60.0).since) == (1, 2.5)
    made.take("cmd_vel", [math.nan, *STOP[1:]], 70.0)
    assert made.is_still(70.0).value == 0
    made.take("cmd_vel", STOP, 71.0)
    # An interruption shorter than the time between two readings.
    assert (made.is_still(71.0).value, made.is_still(71.0).since) == (1, 70.0)


def test_odometry_that_falls_silent_is_unknown() -> None:
    made = motion("odom", is_measured=True)
    assert made.is_still(0.0).text == "no message on odom yet"
    made.take("odom", [0.004] * 6, 1.0)
    assert made.is_still(11.0).value == 1
    assert made.is_still(11.1).text == "no message on odom for 10 s"
    made.take("odom", DRIVE, 12.0)
    assert made.is_still(20.0).value == 0
    made.see("odom", "it carries two types", is_measured=True)
    assert made.is_still(20.0).text == "odom: it carries two types"


def test_a_latched_permission_holds_while_its_publisher_lives() -> None:
    made = Permission("fl/go", 10.0)
    assert made.is_given(0.0).text == "no message yet"
    made.see(OLD, is_latched=True, now=0.0)
    made.take(True, 1.0)
    assert (made.is_given(1000.0).value, made.is_given(1000.0).since) == (1, 1.0)
    made.see(NEW, is_latched=True, now=1001.0)
    assert made.is_given(1001.0).text == "its publisher is gone"
    made.take(True, 1002.0)
    assert made.is_given(1003.0).value == 1
    made.take(False, 1004.0)
    assert made.is_given(1004.0).text == "fl/go is false"
    made.take(True, 1005.0)
    made.take(True, 1006.0)
    assert made.is_given(1006.0).since == 1005.0


def test_any_other_permission_must_be_repeated() -> None:
    made = Permission("fl/go", 10.0)
    made.see(OLD, is_latched=False, now=0.0)
    made.take(True, 0.0)
    made.see(NOBODY, is_latched=False, now=1.0)
    assert made.is_given(10.0).value == 1
    assert made.is_given(10.1).text == "no message for 10 s"


def test_the_temperature_is_that_of_the_hottest_zone_that_can_be_read(tmp_path: Path) -> None:
    assert "no thermal zone in" in machine.temperature(tmp_path).text
    zones = {"cpu": "41500", "gpu": "61250", "off": "", "unconnected": "-274000", "mad": "999000"}
    for number, (kind, text) in enumerate(zones.items()):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{kind}-thermal\n")
        (zone / "temp").write_text(text)
    (tmp_path / "thermal_zone9").mkdir()
    assert (machine.temperature(tmp_path).value, machine.temperature(tmp_path).text) == (
        61.25,
        "61.2",
    )


def test_the_worker_does_not_count_against_the_free_memory(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  1000000 kB\n")
    (tmp_path / "4711").mkdir()
    status = "Name: x\nVmRSS: 9000 kB\nRssAnon:  500 kB\nRssFile: 8400 kB\nRssShmem: 100 kB\n"
    (tmp_path / "4711" / "status").write_text(status)
    assert machine.free_memory_mb(None, tmp_path).value == 1024.0
    # The code that it maps is available memory already.
    assert machine.free_memory_mb(4711, tmp_path).value == 1024.0 + 600 * 1024 / 1e6
    assert machine.free_memory_mb(4712, tmp_path).value == 1024.0
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
    assert not machine.free_memory_mb(None, tmp_path).is_known
    # This machine has both.
    assert (machine.free_memory_mb(os.getpid()).value or 0) > 1
    assert (machine.free_disk_mb(tmp_path).value or 0) > 1
    assert not machine.free_disk_mb(tmp_path / "absent").is_known
