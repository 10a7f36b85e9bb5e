"""The cost of a round by the size of the fleet: a real server, and robots that learn nothing.

`fl_server` with a model of 0.17 MB serves 2, 8, 32 and 128 light robots (test/parts), which train
in no time, all in one process; so a round takes what the server and the protocol take. Processor
time depends on other work of the machine less than a round's seconds do. The first round is left
out.

    make bench            or    .venv/bin/python bench/fleet.py --robots 2 8 --rounds 20

Arguments after -- go to fl_server, as in  bench/fleet.py --robots 8 -- --fraction-train 0.25
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from child import Child, Usage, usage, usage_by_command

from fl_robot_ros.cloud.history import History

LIGHT_ROBOT = Path(__file__).parents[1] / "test" / "parts" / "light_robot.py"
SUPERLINK, SERVER, APP, ROBOTS = "SuperLink", "fl_server", "ServerApp", "robots"
# What the command lines of the server's processes contain; SuperExec starts the ServerApp.
PROCESSES = {
    "superlink_process": SUPERLINK,
    "serverapp": APP,
    "superexec": SUPERLINK,
    "": SERVER,
}
START_SEC = 120.0
POLL_SEC = 0.05
HEADING = """\
                processor seconds a round           memory in MB, begin>end
robots s/round  SuperLink  server    app robots   SuperLink   server       app"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def use(server: Child, robots: Child) -> dict[str, Usage]:
    return {**usage_by_command(server.pid, PROCESSES), ROBOTS: usage(robots.pid)}


def wait_for(text: str, server: Child, robots: Child | None = None) -> None:
    """Wait until the server has written a text.

    Raises:
        RuntimeError: The server or the robots have ended instead.
    """
    end = time.monotonic() + START_SEC
    while True:
        # Robots whose part is done end before the server's last lines.
        server_ended = server.exit_code is not None
        robots_failed = robots is not None and robots.exit_code not in (None, 0)
        if text in server.text:
            break
        if server_ended:
            raise RuntimeError(f"fl_server ended: {server.last_line}")
        if robots is not None and robots_failed:
            raise RuntimeError(f"the robots' process ended: {robots.last_line}")
        if robots is None and time.monotonic() > end:
            raise RuntimeError(f"fl_server does not start: {server.last_line}")
        if robots is not None and sys.stderr.isatty():
            print(f"\r\033[K{server.last_line[:78]}", end="", file=sys.stderr, flush=True)
        time.sleep(POLL_SEC)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def measure(folder: Path, robots: int, rounds: int, more: Sequence[str]) -> None:
    """Do one run, and print its lines of the table."""
    port = free_port()
    command = [sys.executable, "-m", "fl_robot_ros.cli.server", "--port", str(port)]
    command += ["--state-dir", str(folder / "state"), "--classes", *"0123456789"]
    command += ["--min-nodes", str(robots), "--num-rounds", str(rounds)]
    command += ["--fraction-train", "1.0", "--round-timeout-sec", "600", *more]
    fleet_command = [sys.executable, str(LIGHT_ROBOT), f"127.0.0.1:{port}"]
    fleet_command += ["--robots", str(robots), "--timeout-sec", "600"]
    with Child(command, folder / "server.log") as server:
        wait_for("serving robots", server)
        with Child(fleet_command, folder / "robots.log") as fleet:
            wait_for(f"  round 1/{rounds}  ", server, fleet)
            begin = use(server, fleet)
            # The evaluation of the last round comes with the delivery.
            wait_for(f"  round {rounds - 1}/{rounds}  ", server, fleet)
            end = use(server, fleet)
            wait_for("delivered to", server, fleet)
            while server.exit_code is None or fleet.exit_code is None:
                time.sleep(POLL_SEC)
    with History(folder / "state") as history:
        records = history.rounds()
    seconds = statistics.median(record.wall_sec for record in records[1:])
    cost = {name: (end[name].cpu_sec - begin[name].cpu_sec) / (rounds - 2) for name in end}
    memory = {n: f"{begin[n].memory_mb:.0f}>{end[n].memory_mb:.0f}" for n in end}
    print(
        f"{robots:6}{seconds:8.2f}{cost[SUPERLINK]:11.2f}{cost[SERVER]:8.2f}{cost[APP]:7.2f}"
        f"{cost[ROBOTS]:7.2f}{memory[SUPERLINK]:>12}{memory[SERVER]:>9}{memory[APP]:>10}"
    )
    report = json.loads(fleet.last_line)
    by_kind = {kind: count / robots / rounds for kind, count in report["requests"].items()}
    most = sorted(by_kind.items(), key=lambda item: -item[1])[:2]
    details = ", ".join(f"{kind} {count:.1f}" for kind, count in most)
    print(f"       {sum(by_kind.values()):.1f} requests of a robot a round: {details}")
    counted = min(record.robots for record in records)
    if counted < robots or report["failed"]:
        print(f"        a round had {counted} robots; failed: {report['failed'] or 'none'}")
    sys.stdout.flush()


def main() -> int:
    ours, more = sys.argv[1:], []
    if "--" in ours:
        more = ours[ours.index("--") + 1 :]
        ours = ours[: ours.index("--")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--robots", type=int, nargs="+", default=[2, 8, 32, 128], metavar="N")
    parser.add_argument("--rounds", type=int, default=10, metavar="R", help="3 or more")
    options = parser.parse_args(ours)
    if options.rounds < 3 or min(options.robots) < 1:
        parser.error("expected 3 rounds or more, and 1 robot or more")
    print(HEADING, flush=True)
    for robots in options.robots:
        with tempfile.TemporaryDirectory(prefix="fl_bench_") as folder:
            try:
                measure(Path(folder), robots, options.rounds, more)
            except RuntimeError as error:
                print(f"{robots:6}  {error}", flush=True)
                return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the children end in both cases
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
