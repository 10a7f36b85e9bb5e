"""What the operator reads of robots that try again and again."""

from __future__ import annotations

from fl_robot_ros.cloud.refusal_log import RefusalLog


def test_a_refusal_is_said_once_a_minute() -> None:
    said: list[str] = []
    now = [0.0]
    log = RefusalLog(said.append, lambda: now[0])
    for second in range(180):
        now[0] = float(second)
        log.add("r1", "revoked", f"revoked, {second}")
        log.add("r2", "revoked", "revoked")
    assert [line for line in said if "r1" in line] == [
        "refused r1: revoked, 0",
        "refused r1: revoked, 60",
        "refused r1: revoked, 120",
    ]
    assert len(said) == 6


def test_refusals_of_everybody_do_not_flood_the_terminal() -> None:
    said: list[str] = []
    now = [0.0]
    log = RefusalLog(said.append, lambda: now[0])
    for number in range(1000):
        log.add(f"192.0.2.{number}", "unknown", "unknown")
    assert len(said) == 20
    now[0] = 61.0
    log.add("r1", "revoked", "revoked")
    assert said[20:] == ["refused r1: revoked (980 refusals were not shown)"]
