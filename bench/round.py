"""What a round costs beyond the robots' work: this package against stock Flower.

Both train the same reference CNN's weights (0.17 MB) with the same number of robots on this
machine, and every robot trains and evaluates in each round without learning anything. Ours:
`fl_server` and the fleet worker's connection. The peer: `flower-superlink`, `flower-supernode` and
`flwr run` with their defaults, and an app in Flower's own manner (bench/stock_flower). The
overhead is the time of a round less the work of its slowest robot; the table has the median, all
but the first round. A peer's app that needs TensorFlow loads it anew for every message, which
comes on top.

    make bench            or    .venv/bin/python bench/round.py --rounds 10
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

from child import Child
from fleet import LIGHT_ROBOT, POLL_SEC, START_SEC, free_port, wait_for

from fl_robot_ros.cloud.history import History

APP = Path(__file__).with_name("stock_flower")
BIN = Path(sys.executable).parent


def ours(folder: Path, robots: int, rounds: int, work_sec: float) -> list[float]:
    """Do a run of this package, each robot in its own process; return the overheads in s."""
    port = free_port()
    command = [sys.executable, "-m", "fl_robot_ros.cli.server", "--port", str(port)]
    command += ["--state-dir", str(folder / "state"), "--classes", *"0123456789"]
    command += ["--min-nodes", str(robots), "--num-rounds", str(rounds), "--fraction-train", "1.0"]
    with ExitStack() as stack:
        server = stack.enter_context(Child(command, folder / "server.log"))
        wait_for("serving robots", server)
        for number in range(robots):
            robot = [sys.executable, str(LIGHT_ROBOT), f"127.0.0.1:{port}"]
            robot += ["--name", f"robot{number}", "--work-sec", str(work_sec)]
            stack.enter_context(Child(robot, folder / f"robot{number}.log"))
        wait_for("delivered to", server, server)
    with History(folder / "state") as history:
        return [r.wall_sec - r.robot_compute_sec for r in history.rounds()[1:]]


def stock(folder: Path, robots: int, rounds: int, work_sec: float) -> list[float]:
    """Do a run of stock Flower; return the overheads in s."""
    port, times = free_port(), folder / "times.json"
    environment = {
        "FLWR_HOME": str(folder / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    (folder / "flwr").mkdir()
    (folder / "flwr" / "config.toml").write_text(
        f'[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    address = ["--insecure", "--host", "127.0.0.1", "--port", str(port)]
    superlink = [str(BIN / "flower-superlink"), *address]
    superlink += ["--disable-runtime-dependency-installation"]
    config = f'times-file="{times}" rounds={rounds} robots={robots} work-sec={work_sec}'
    with ExitStack() as stack:
        server = Child(superlink, folder / "superlink.log", env=environment)
        stack.enter_context(server)
        wait_for("Uvicorn running", server)
        for number in range(robots):
            robot = [str(BIN / "flower-supernode"), "--insecure", "--port", str(free_port())]
            robot += ["--superlink", f"127.0.0.1:{port}"]
            log = folder / f"robot{number}.log"
            stack.enter_context(Child(robot, log, env=environment))
        done = subprocess.run(
            [str(BIN / "flwr"), "run", str(APP), "bench", "--run-config", config],
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"flwr run failed: {' '.join((done.stdout + done.stderr).split())}")
        return _stock_overheads(server, times, rounds)


def _stock_overheads(server: Child, times: Path, rounds: int) -> list[float]:
    """Wait for the file with the times of all rounds, and return their overheads in s."""
    end = time.monotonic() + START_SEC * rounds
    while time.monotonic() < end and server.exit_code is None:
        try:
            noted = json.loads(times.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            noted = {"ends": []}
        if len(noted["ends"]) == rounds + 1:
            ends, work = noted["ends"], noted["work"]
            return [
                ends[n + 1] - ends[n] - work[2 * n] - work[2 * n + 1] for n in range(1, rounds)
            ]
        time.sleep(POLL_SEC)
    raise RuntimeError(f"stock Flower does not get through its rounds: {server.last_line}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--robots", type=int, default=2, metavar="N")
    parser.add_argument("--rounds", type=int, default=6, metavar="R", help="3 or more")
    parser.add_argument("--work-sec", type=float, default=0.0, help="training of each robot, s")
    options = parser.parse_args()
    if options.rounds < 3 or options.robots < 1:
        parser.error("expected 3 rounds or more, and 1 robot or more")
    version = metadata.version("flwr")
    print(f"Overhead of a round, {options.robots} robots, {options.rounds} rounds, s")
    print(f"{'':<24}{'median':>10}{'least':>10}{'most':>10}", flush=True)
    medians = []
    for name, contestant in (("this package", ours), (f"stock Flower {version}", stock)):
        with tempfile.TemporaryDirectory(prefix="fl_bench_") as folder:
            try:
                overheads = contestant(
                    Path(folder), options.robots, options.rounds, options.work_sec
                )
            except RuntimeError as error:
                print(f"{name}: {error}")
                return 1
        medians.append(statistics.median(overheads))
        print(
            f"{name:<24}{medians[-1]:10.2f}{min(overheads):10.2f}{max(overheads):10.2f}",
            flush=True,
        )
    print(f"stock Flower takes {medians[1] / medians[0]:.0f} times as long")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the children end in both cases
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
