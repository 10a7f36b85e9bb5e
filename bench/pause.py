"""How fast a worker stops for its robot, what it costs while it stands, and how fast it goes on.

A real `fl_server` and one real worker, which trains on made images all the time. Again and again
it is told to pause at a random moment, and to go on some seconds later. Its processor time is read
every 20 ms. It stands from the first of 10 readings in a row on that were below 5 % of a core.

    .venv/bin/python bench/pause.py
    .venv/bin/python bench/pause.py --size 96 --batch 64 --times 5
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from child import Child, busy_sec
from fleet import START_SEC, free_port, wait_for

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.publication import Publication
from fl_robot_ros.robot.worker_process import WorkerProcess
from fl_robot_ros.worker_link.event import Event, Progress
from fl_robot_ros.worker_link.job import Job
from fl_robot_ros.worker_link.run_status import RunState

READING_SEC = 0.02
QUIET_SHARE, QUIET_READINGS = 0.05, 10
MAX_WAIT_SEC = 30.0
STANDS_SEC = 2.0


class Robot:
    """A worker, the states that it tells, and its processor time."""

    def __init__(self, folder: Path, port: int) -> None:
        self.told: list[tuple[float, RunState]] = []
        self.ended = ""
        job = Job(
            robot="r1",
            server_address=f"127.0.0.1:{port}",
            root_certificates="",
            enrolment="",
            connect_timeout_sec=60.0,
            server_timeout_sec=60.0,
            source=DataSource(SourceKind.FOLDER, str(folder / "images"), 0, 1, 0.0, 0.25),
            freeze=None,
            models_dir=str(folder / "models"),
            keep_versions=1,
            publication=Publication.from_settings(ClientSettings()),
            threads=0,
            nice=10,
            memory_limit_mb=0,
            pause_max_sec=3600.0,
        )
        self.process = WorkerProcess(Path(sys.executable), folder, job, self._hear, self._end)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.told.append((time.monotonic(), event.state))

    def _end(self, how: str) -> None:
        self.ended = how

    @property
    def cpu_sec(self) -> float:
        """Processor time of all threads in s."""
        return busy_sec(self.process.pid)

    def wait_for(self, state: RunState, since: float) -> float:
        """Return when it told a state, after a moment.

        Raises:
            RuntimeError: It ended, or did not in time.
        """
        end = time.monotonic() + START_SEC
        while time.monotonic() < end:
            for at, told in list(self.told):
                if told == state and at >= since:
                    return at
            if self.ended:
                raise RuntimeError(self.ended)
            time.sleep(0.005)
        raise RuntimeError(f"the worker is not {state} after {START_SEC:g} s")

    def wait_until_quiet(self, since: float) -> float:
        """Return when it stood, after a moment."""
        quiet, stood_at = 0, since
        before, read_at = self.cpu_sec, time.monotonic()
        while quiet < QUIET_READINGS:
            if read_at > since + MAX_WAIT_SEC:
                raise RuntimeError(f"the worker does not stand after {MAX_WAIT_SEC:g} s")
            time.sleep(READING_SEC)
            now, cpu = time.monotonic(), self.cpu_sec
            if (cpu - before) / (now - read_at) < QUIET_SHARE:
                stood_at = stood_at if quiet else read_at
                quiet += 1
            else:
                quiet = 0
            before, read_at = cpu, now
        return stood_at


def make_images(folder: Path, images: int, size: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(images):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = generator.integers(0, 128, (size, size, 3)) + 127 * (number % 2)
        cv2.imwrite(str(path), noise.astype(np.uint8))


def measure(options: argparse.Namespace, folder: Path) -> None:
    port = free_port()
    make_images(folder / "images", options.images, options.size)
    command = [sys.executable, "-m", "fl_robot_ros.cli.server", "--port", str(port)]
    command += ["--state-dir", str(folder / "state"), "--classes", "a", "b", "--min-nodes", "1"]
    command += ["--input-height", str(options.size), "--input-width", str(options.size)]
    command += ["--batch-size", str(options.batch), "--local-epochs", "10000"]
    command += ["--num-rounds", "100", "--round-timeout-sec", "3600"]
    stopped, told, shares, resumed = [], [], [], []
    with Child(command, folder / "server.log") as server:
        wait_for("serving robots", server)
        robot = Robot(folder, port)
        try:
            robot.wait_for(RunState.TRAINING, 0.0)
            time.sleep(5.0)
            for _ in range(options.times):
                time.sleep(random.uniform(1.0, 2.0))
                asked_at = time.monotonic()
                robot.process.pause("the bench")
                stopped.append(robot.wait_until_quiet(asked_at) - asked_at)
                told.append(robot.wait_for(RunState.PAUSED, asked_at) - asked_at)
                used_sec, begin = robot.cpu_sec, time.monotonic()
                time.sleep(STANDS_SEC)
                used_sec, asked_at = robot.cpu_sec - used_sec, time.monotonic()
                shares.append(used_sec / (asked_at - begin))
                robot.process.resume()
                resumed.append(robot.wait_for(RunState.TRAINING, asked_at) - asked_at)
        finally:
            robot.process.stop()
    size = f"{options.size}x{options.size} px, batches of {options.batch}"
    print(f"{options.times} pauses of a training worker, {size}:")
    for name, values, unit in (
        ("processor stands after", stopped, "ms"),
        ("node knows after", told, "ms"),
        ("goes on after", resumed, "ms"),
        ("of a core while it stands", shares, "%"),
    ):
        scale = 1000 if unit == "ms" else 100
        median, most = statistics.median(values) * scale, max(values) * scale
        print(f"  {name:26} median {median:7.2f} {unit}   most {most:7.2f} {unit}")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20, help="pauses")
    parser.add_argument("--images", type=int, default=1000, help="images of the robot")
    parser.add_argument("--size", type=int, default=32, help="height and width of the input in px")
    parser.add_argument("--batch", type=int, default=32, help="images in a batch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


if __name__ == "__main__":
    main()
