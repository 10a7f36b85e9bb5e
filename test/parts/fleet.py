"""A small real fleet for tests: robots with datasets, a server, workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from worker_job import make_job

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.worker_link.event import Event, Progress, read_event
from fl_robot_ros.worker_link.run_status import RunState

CLASSES = ("blue", "green", "red")
LIGHT_ROBOT = Path(__file__).with_name("light_robot.py")
_COLOURS = {"blue": (230, 40, 40), "green": (40, 230, 40), "red": (40, 40, 230)}
SIZE_PX = 12


def make_image(label: str, seed: int) -> bytes:
    """Return a JPEG of noise in the label's colour."""
    generator = np.random.default_rng(seed)
    base = np.array(_COLOURS.get(label, (128, 128, 128)))
    image = np.clip(base + generator.normal(0, 25, (48, 64, 3)), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1])


def make_robot(folder: Path, labels: Sequence[str], images: int = 24, seed: int = 0) -> None:
    """Fill a robot's dataset with images of some labels, 2 s of each at a time."""
    samples = []
    for index in range(images):
        label = labels[(index // 4) % len(labels)]
        stamp_ns = (1000 * seed + index // 4 * 5) * 10**9 + index % 4 * 5 * 10**8
        samples.append(
            NewSample(
                label=label,
                topic="camera",
                stamp_ns=stamp_ns,
                image_bytes=make_image(label, 1000 * seed + index),
                width=64,
                height=48,
            )
        )
    with Dataset(folder / "dataset") as dataset:
        dataset.add(samples)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


class Process:
    """A child process with its output in a file, ended by its own handle."""

    def __init__(self, command: Sequence[str], log: Path, **options: Any) -> None:
        self.log = log
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
        environment.update(options.pop("env", {}))
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                list(command), stdout=file, stderr=subprocess.STDOUT, env=environment, **options
            )

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: int = signal.SIGTERM, timeout_sec: float = 60.0) -> int:
        """Send a signal, unless it has ended, and return the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(timeout_sec)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise


@contextmanager
def server(
    state_dir: Path, port: int, *, within: Sequence[str] = (), **settings: Any
) -> Iterator[Process]:
    """Run a real `fl_server` for tiny models; `within` goes before its command."""
    state_dir.mkdir(parents=True, exist_ok=True)
    values = {
        "port": port,
        "state_dir": str(state_dir),
        "classes": list(CLASSES),
        "input_height": SIZE_PX,
        "input_width": SIZE_PX,
        "fraction_train": 1.0,
        "num_rounds": 2,
        "local_epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.003,
        "round_timeout_sec": 300.0,
        **settings,
    }
    config = state_dir.parent / f"{state_dir.name}.yaml"
    config.write_text(json.dumps(values), encoding="utf-8")
    command = [*within, sys.executable, "-m", "fl_robot_ros.cli.server", "--config", str(config)]
    process = Process(command, state_dir.parent / f"{state_dir.name}.log")
    try:
        yield process
    finally:
        process.stop()


class Worker:
    """A real fleet worker, started as the ROS node starts it."""

    def __init__(self, folder: Path, port: int, **changes: Any) -> None:
        job = make_job(folder, **{"server_address": f"127.0.0.1:{port}", **changes})
        self.events_path = folder / "events.jsonl"
        self.models_dir = folder / "models"
        with self.events_path.open("w") as events, (folder / "worker.log").open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "fl_robot_ros.worker.worker"],
                stdin=subprocess.PIPE,
                stdout=events,
                stderr=log,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        self.say(job.to_json())

    def say(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    @property
    def events(self) -> list[Event]:
        lines = self.events_path.read_text(encoding="utf-8").splitlines()
        return [event for line in lines if (event := read_event(line))]

    @property
    def states(self) -> list[RunState]:
        return [event.state for event in self.events if isinstance(event, Progress)]

    def close(self) -> int:
        """Close the worker's input, as the end of its parent does, and return its exit code."""
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        try:
            return self.popen.wait(60.0)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise


@contextmanager
def worker(folder: Path, port: int, **changes: Any) -> Iterator[Worker]:
    """Run a fleet worker on a robot's dataset; `changes` replace fields of its job."""
    process = Worker(folder, port, **changes)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def light_robots(
    folder: Path,
    port: int,
    name: str,
    *,
    host: str = "127.0.0.1",
    within: Sequence[str] = (),
    **options: Any,
) -> Iterator[Process]:
    """Run light robots in one process; `options` are those of `light_robot.py`.

    `within` goes before the command.
    """
    command = [*within, sys.executable, str(LIGHT_ROBOT), f"{host}:{port}", "--name", name]
    for option, value in options.items():
        command += [f"--{option.replace('_', '-')}", str(value)]
    process = Process(command, folder / f"{name}.log")
    try:
        yield process
    finally:
        process.stop()
