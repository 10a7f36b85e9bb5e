"""How much sooner a robot trains whose worker stays between runs, and what that costs.

A real `fl_client`, server and worker (test/parts) in a ROS domain of their own.

    .venv/bin/python bench/warm.py --cold 5 --warm 20

Calls `fl/start_round` again and again while the server waits for a robot; the worker ends with
its run first (cold), later it stays (warm). An epoch is one step here. The times are those of
`fl/status`: until the worker is with the server, until the server asks it to train, and until the
first step is done. Of the warm worker, also memory after each run, and processor use between runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "parts"))

from fleet import Process, free_port, server
from rules import PATIENCE_SEC, Robot, cpu_sec
from waiting import wait_until

from fl_robot_ros.demo.ros_domain import private_ros_domain

# All of it, and what no file backs: the difference is mapped code, which the system can drop.
MEMORY = ("VmRSS:", "RssAnon:")
SETTLE_SEC, IDLE_SEC = 3.0, 30.0
STEPS = ("with the server", "asked to train", "first step done")


def memory_mb(pid: int) -> tuple[float, ...]:
    """Return the memory of a process in MB, as named in `MEMORY`."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    values = {words[0]: int(words[1]) / 1000 for words in lines if words[0] in MEMORY}
    return tuple(values[name] for name in MEMORY)


def run_once(robot: Robot, fl_server: Process) -> list[float]:
    """Do one run; return the times of its steps in s after the call."""
    before = fl_server.text.count("delivered to")
    seen = len(robot.statuses)
    start = time.monotonic()
    reply = robot.start_round()
    assert reply.startswith("run started"), reply
    wait_until(lambda: fl_server.text.count("delivered to") > before, "delivery", PATIENCE_SEC)
    wait_until(lambda: robot.state == "idle", "the run's end", PATIENCE_SEC)
    new = robot.statuses[seen:]
    return [
        min(at for at, values in new if values["state"] == "waiting") - start,
        min(at for at, values in new if values["state"] == "training") - start,
        min(at for at, values in new if values["epoch"] == "1") - start,
    ]


def measure(folder: Path, times: int, *, keep_warm_sec: float) -> None:
    """Print the times, and of a warm worker memory and processor use."""
    port = free_port()
    settings = {
        "continuous": True,
        "min_nodes": 1,
        "num_rounds": 1,
        "local_epochs": 2,
        "batch_size": 256,
        "norm_limit": 0.0,  # the model is soon so good that a common update is an unusual one
    }
    taken: list[list[float]] = []
    with server(folder / "state", port, **settings) as fl_server:
        robot = Robot(folder, port, worker_keep_warm_sec=keep_warm_sec, publish_if="always")
        try:
            for number in range(times):
                awaited = number + 1
                wait_until(
                    lambda awaited=awaited: (
                        fl_server.text.count("waiting for robots: 0 of 1") >= awaited
                    ),
                    "the server",
                    PATIENCE_SEC,
                )
                time.sleep(SETTLE_SEC)
                if keep_warm_sec and number:
                    held, own = memory_mb(robot.worker_pid)
                    text = f"after {number} runs: {held:.0f} MB, {own:.0f} MB without mapped files"
                    print(text, flush=True)
                seconds = run_once(robot, fl_server)
                if number or not keep_warm_sec:
                    taken.append(seconds)
            if keep_warm_sec:
                pid = robot.worker_pid
                time.sleep(SETTLE_SEC)  # it tidies up after its run
                used, start = cpu_sec(pid), time.monotonic()
                time.sleep(IDLE_SEC)
                share = (cpu_sec(pid) - used) / (time.monotonic() - start)
                print(f"between runs: {share:.2%} of a core", flush=True)
        finally:
            robot.close()
    print(f"{'warm' if keep_warm_sec else 'cold'}, {len(taken)} runs:")
    for name, seconds in zip(STEPS, zip(*taken, strict=True), strict=False):
        print(
            f"  {name}: median {statistics.median(seconds):.2f} s, "
            f"{min(seconds):.2f} to {max(seconds):.2f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--cold", type=int, default=5, help="runs of new workers")
    parser.add_argument("--warm", type=int, default=20, help="runs of the worker of before")
    options = parser.parse_args()
    with private_ros_domain() as variables, tempfile.TemporaryDirectory() as folder:
        os.environ.update(variables)
        for name, times, keep_warm_sec in (
            ("cold", options.cold, 0.0),
            ("warm", options.warm + 1, 3600.0),  # the first of them is cold
        ):
            (Path(folder) / name).mkdir()
            measure(Path(folder) / name, times, keep_warm_sec=keep_warm_sec)


if __name__ == "__main__":
    main()
