"""What robots, links and restarts do to a run that they must not stop."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fleet import Process, free_port, light_robots, process_of, server
from link import Link
from waiting import wait_until

from fl_robot_ros.cloud.history import History

TIMEOUT_SEC = 240.0


def wait_for(text: str, process: Process) -> None:
    """Wait for a line of a process that goes on."""

    def is_there() -> bool:
        has_ended = process.popen.poll() is not None
        if text in process.text:
            return True
        assert not has_ended, process.text
        return False

    wait_until(is_there, f"the line {text!r}", TIMEOUT_SEC)


def memory_mb(pid: int) -> float:
    """Return the most memory that a process had so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def test_robots_that_harm_or_hold_up_are_left_behind_and_the_others_learn(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    bad: dict[str, dict[str, Any]] = {
        "fails": {"behaviour": "fails"},
        "huge": {"factor": 1000.0},
        "claims": {"examples": 10**9},
        "nan": {"behaviour": "nan"},
        "silent": {"behaviour": "silent"},  # announces its replies; Flower waits for 181 s
        "large": {"behaviour": "large", "reply_mb": 150},
    }
    with server(state, port, min_nodes=8, num_rounds=2) as fl_server, ExitStack() as stack:
        wait_for("serving robots", fl_server)
        processes = process_of(state, "superlink_process"), fl_server.popen.pid
        at_first = [memory_mb(pid) for pid in processes]
        for name, options in bad.items():
            stack.enter_context(light_robots(tmp_path, port, name, **options))
        wait_for("waiting for robots: 6 of 8 connected", fl_server)
        sound = stack.enter_context(light_robots(tmp_path, port, "sound", robots=8))
        wait_for("delivered to", fl_server)
        at_last = [memory_mb(pid) for pid in processes]
        assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
        assert sound.popen.wait(60.0) == 0, sound.text
    said = fl_server.text
    # An error carries no name; an enrolled robot has one nevertheless.
    assert ": this robot fails in every round" in said
    assert ": a reply has at most" in said
    assert ": no reply in time" in said  # in Flower's own words it would be an unavailable node
    for name in ("huge0", "claims0", "nan0"):
        assert f"{name}: refused: " in said
    assert "sound0: " not in said
    assert "delivered to huge0, nan0, sound0" in said
    with History(state) as history:
        rounds = history.rounds()
    assert all(record.robots >= 8 for record in rounds)
    for first, last in zip(at_first, at_last, strict=True):
        assert last - first < 70.0
    assert sum(path.stat().st_size for path in state.rglob("*") if path.is_file()) < 30e6


def test_a_server_that_begins_again_asks_only_robots_that_it_heard_from(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with (
        light_robots(tmp_path, port, "here", robots=2) as here,
        light_robots(tmp_path, port, "gone") as gone,
    ):
        with server(state, port, min_nodes=3, num_rounds=20) as fl_server:
            wait_for("round 1/20", fl_server)
            gone.stop(signal.SIGKILL)
            fl_server.stop(signal.SIGKILL)
        said_before = fl_server.text
        with server(state, port, min_nodes=2, num_rounds=20) as fl_server:
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
        assert here.popen.wait(60.0) == 0, here.text
    said = fl_server.text[len(said_before) :]
    assert "resuming run 1" in said
    assert "gone0" not in said
    assert "no reply" not in said
    assert "Unavailable" not in said


def test_links_that_are_slow_break_off_and_lose_a_request_only_delay(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with server(state, port, min_nodes=4, num_rounds=2, round_timeout_sec=120.0) as fl_server:
        wait_for("serving robots", fl_server)
        with (
            Link(port, delay_sec=0.15, break_chance=0.02) as slow,
            # The type of the message, as it stands in the reply to a poll.
            Link(port, lose=b"train") as losing,
            light_robots(tmp_path, slow.port, "far", robots=2) as far,
            light_robots(tmp_path, losing.port, "unheard") as unheard,
            light_robots(tmp_path, port, "near") as near,
        ):
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
            for robots in (far, unheard, near):
                assert robots.popen.wait(60.0) == 0, robots.text
            assert slow.breaks > 0
            assert losing.breaks == 1
    with History(state) as history:
        assert [record.robots for record in history.rounds()] == [4, 4]
    # No robot is named: none was late, and each round had one attempt.
    assert not re.search(r"round \d: ", fl_server.text), fl_server.text
    assert "delivered to far0, far1, near0, unheard0" in fl_server.text
