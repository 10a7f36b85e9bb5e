"""What robots, links and restarts do to a run that they must not stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleet import Process, free_port, light_robots, server
from link import Link
from network import ADDRESSES, TwoHosts
from waiting import wait_until

from fl_robot_ros.cloud.history import History

TIMEOUT_SEC = 240.0
# Longer than Flower's requests (30 s) and sending of objects (60 s) live.
LINK_CUT_SEC = 65.0


def wait_for(text: str, process: Process) -> None:
    """Wait for a line of a process that goes on."""

    def is_there() -> bool:
        has_ended = process.popen.poll() is not None
        if text in process.text:
            return True
        assert not has_ended, process.text
        return False

    wait_until(is_there, f"the line {text!r}", TIMEOUT_SEC)


@contextmanager
def after(robots: int, *, of: int, fl_server: Process) -> Iterator[None]:
    """Wait until so many robots of those needed are connected, before the others come."""
    wait_for(f"waiting for robots: {robots} of {of} connected", fl_server)
    yield


def memory_mb(pid: int) -> float:
    """Return the most memory that a process had so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def process_of(folder: Path, name: str) -> int:
    """Return the process whose command line has a name, and names a folder there or around it."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if name.encode() in command and str(folder).encode() in command + environment:
            return int(entry.name)
    raise AssertionError(f"no process {name}")


def test_a_robot_that_announces_and_never_sends_does_not_stop_a_round(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with (
        server(state, port, min_nodes=2, num_rounds=2, round_timeout_sec=10.0) as fl_server,
        light_robots(tmp_path, port, "silent", behaviour="silent"),
        after(1, of=2, fl_server=fl_server),
        light_robots(tmp_path, port, "sound", robots=2) as sound,
    ):
        assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
        assert sound.popen.wait(60.0) == 0, sound.text
    with History(state) as history:
        rounds = history.rounds()
    assert [record.robots for record in rounds] == [2, 2]
    # Flower itself waits for 181 s.
    assert max(record.wall_sec for record in rounds) < 60.0
    assert "delivered to sound0, sound1" in fl_server.text


def test_robots_that_harm_are_named_with_the_reason_and_the_others_learn(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with (
        server(state, port, min_nodes=4, num_rounds=2, round_timeout_sec=60.0) as fl_server,
        light_robots(tmp_path, port, "fails", behaviour="fails") as fails,
        light_robots(tmp_path, port, "huge", factor=1000.0),
        light_robots(tmp_path, port, "claims", examples=10**9),
        after(3, of=4, fl_server=fl_server),
        light_robots(tmp_path, port, "sound", robots=4) as sound,
    ):
        assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
        assert sound.popen.wait(60.0) == 0, sound.text
        assert fails.popen.wait(60.0) == 1, fails.text
    # An error carries no name; an enrolled robot has one nevertheless.
    assert ": this robot fails in every round" in fl_server.text
    assert "huge0: refused" in fl_server.text
    assert "claims0: refused" in fl_server.text
    assert "sound0: " not in fl_server.text


def test_a_reply_far_larger_than_the_model_takes_no_memory_and_no_disk(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with server(state, port, num_rounds=2, round_timeout_sec=60.0) as fl_server:
        wait_for("serving robots", fl_server)
        superlink = process_of(state, "superlink_process")
        at_first = memory_mb(superlink), memory_mb(fl_server.popen.pid)
        with (
            light_robots(tmp_path, port, "large", behaviour="large", reply_mb=300),
            after(1, of=2, fl_server=fl_server),
            light_robots(tmp_path, port, "sound", robots=2) as sound,
        ):
            wait_for("delivered to", fl_server)
            at_last = memory_mb(superlink), memory_mb(fl_server.popen.pid)
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
            assert sound.popen.wait(60.0) == 0, sound.text
    assert ": a reply has at most" in fl_server.text
    for first, last in zip(at_first, at_last, strict=True):
        assert last - first < 100.0
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


def test_a_slow_link_that_breaks_off_at_random_only_delays(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with server(state, port, num_rounds=3) as fl_server:
        wait_for("serving robots", fl_server)
        with (
            Link(port, delay_sec=0.15, break_chance=0.02) as link,
            light_robots(tmp_path, link.port, "far", robots=2) as robots,
        ):
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
            assert robots.popen.wait(60.0) == 0, robots.text
            assert link.breaks > 0
    with History(state) as history:
        assert [record.robots for record in history.rounds()] == [2, 2, 2]
    assert "delivered to far0, far1" in fl_server.text


def test_a_request_that_is_lost_on_its_way_to_a_robot_is_sent_again(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with server(state, port, num_rounds=1, round_timeout_sec=30.0) as fl_server:
        wait_for("serving robots", fl_server)
        with (
            # The type of the message, as it stands in the reply to a poll.
            Link(port, lose=b"train") as link,
            light_robots(tmp_path, link.port, "far") as far,
            light_robots(tmp_path, port, "near") as near,
        ):
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
            for robots in (far, near):
                assert robots.popen.wait(60.0) == 0, robots.text
            assert link.breaks == 1
    # No robot is named: none was late, and there was one attempt.
    assert "round 1: " not in fl_server.text
    assert "delivered to far0, near0" in fl_server.text


def test_a_link_that_is_cut_in_training_and_in_sending_only_delays(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    try:
        hosts = TwoHosts()
    except PermissionError as error:
        pytest.skip(str(error))
    try:
        try:
            hosts.slow_down("16mbit")
        except PermissionError as error:
            pytest.skip(str(error))
        cloud, field = hosts.command(0, []), hosts.command(1, [])
        far = {"host": ADDRESSES[0], "within": field, "timeout_sec": 600}
        # A model of 9 MB, for some seconds on the way.
        size = {"input_height": 440, "input_width": 440}
        with (
            server(
                state, port, within=cloud, host=ADDRESSES[0], insecure=True, num_rounds=1, **size
            ) as fl_server,
            light_robots(tmp_path, port, "sender", **far) as sender,
            light_robots(tmp_path, port, "busy", work_sec=LINK_CUT_SEC / 2, **far) as busy,
        ):
            wait_for("busy0 trains for round 1", busy)
            wait_for("sender0 trained for round 1", sender)
            before = hosts.received_bytes()
            wait_until(lambda: hosts.received_bytes() > before + 1e6, "the reply", TIMEOUT_SEC)
            hosts.cut()
            time.sleep(LINK_CUT_SEC)
            hosts.mend()
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
            assert sender.popen.wait(60.0) == 0, sender.text
            assert busy.popen.wait(60.0) == 0, busy.text
        # A robot tells its name with its first reply, which may have come too late.
        delivered = fl_server.text.rpartition("delivered to ")[2].splitlines()[0]
        assert len(delivered.split(", ")) == 2
    finally:
        hosts.close()
