"""What killed robots do to a run: one in ten, in every round, at a random moment.

A real server and light robots (test/parts), each in a process of its own, do the same run twice:
undisturbed, and with one robot killed as by a lost battery in every round and started again at
once. The robots learn a known optimum; the accuracy is 1 at the optimum and 0 at the start.

    .venv/bin/python bench/chaos.py --robots 10 --rounds 30 --seed 1
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from child import Child
from fleet import LIGHT_ROBOT, POLL_SEC, free_port, wait_for

from fl_robot_ros.cloud.history import History

STUCK_SEC = 1800.0


class Robots:
    """Light robots by number, some of which are killed and started again."""

    def __init__(self, folder: Path, port: int, number: int) -> None:
        self._folder, self._port = folder, port
        self._robots = [self._start(index) for index in range(number)]

    def kill(self, index: int) -> None:
        """Kill a robot, and start one of its name."""
        self._robots[index].kill()
        self._robots[index] = self._start(index)

    def stop(self) -> None:
        """End all robots."""
        for robot in self._robots:
            robot.stop()

    def _start(self, index: int) -> Child:
        command = [sys.executable, str(LIGHT_ROBOT), f"127.0.0.1:{self._port}"]
        command += ["--name", f"robot{index}-", "--work-sec", "0.5", "--timeout-sec", "600"]
        return Child(command, self._folder / f"robot{index}.log")


def do_run(folder: Path, options: argparse.Namespace, kills: bool) -> tuple[float, int, float]:
    """Do one run; return its seconds, the number of kills and the accuracy at the end."""
    port = free_port()
    command = [sys.executable, "-m", "fl_robot_ros.cli.server", "--port", str(port)]
    command += ["--state-dir", str(folder / "state"), "--classes", *"0123456789"]
    command += ["--min-nodes", str(max(1, options.robots // 2))]
    command += ["--num-rounds", str(options.rounds), "--fraction-train", "1.0"]
    command += ["--round-timeout-sec", "60"]
    generator = random.Random(options.seed)
    killed = 0
    with ExitStack() as stack:
        server = stack.enter_context(Child(command, folder / "server.log"))
        wait_for("serving robots", server)
        robots = Robots(folder, port, options.robots)
        stack.callback(robots.stop)
        wait_for("  round 1/", server, server)
        start = lap = time.monotonic()
        seen = 1
        while server.exit_code is None:
            done = int(re.findall(r"  round (\d+)/\d+  ", server.text)[-1])
            now = time.monotonic()
            if done > seen:
                if kills:
                    time.sleep(generator.uniform(0.0, min(now - lap, 10.0)))
                    robots.kill(generator.randrange(options.robots))
                    killed += 1
                seen, lap = done, now
            if now - lap > STUCK_SEC:
                raise RuntimeError(f"the run is stuck after round {seen}: {server.last_line}")
            time.sleep(POLL_SEC)
        seconds = time.monotonic() - start
        if server.exit_code:
            raise RuntimeError(f"the run failed: {server.last_line}")
    with History(folder / "state") as history:
        accuracy = history.rounds()[-1].accuracy
    if accuracy is None:
        raise RuntimeError("no robot evaluated the last round")
    return seconds, killed, accuracy


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--robots", type=int, default=10, metavar="N")
    parser.add_argument("--rounds", type=int, default=30, metavar="R", help="2 or more")
    parser.add_argument("--seed", type=int, default=0, help="which robots, and when")
    options = parser.parse_args()
    if options.rounds < 2 or options.robots < 2:
        parser.error("expected 2 rounds or more, and 2 robots or more")
    print(f"{options.robots} robots, {options.rounds} rounds")
    print(f"{'':<16}{'s a round':>10}{'kills':>7}{'accuracy':>10}", flush=True)
    accuracies = []
    for name, kills in (("undisturbed", False), ("with kills", True)):
        with tempfile.TemporaryDirectory(prefix="fl_bench_") as folder:
            try:
                seconds, killed, accuracy = do_run(Path(folder), options, kills)
            except RuntimeError as error:
                print(f"{name}: {error}")
                return 1
        accuracies.append(accuracy)
        pace = seconds / (options.rounds - 1)
        print(f"{name:<16}{pace:10.2f}{killed:7}{accuracy:10.4f}", flush=True)
    print(f"the kills cost {100 * (accuracies[0] - accuracies[1]):.2f} points")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the children end in both cases
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
