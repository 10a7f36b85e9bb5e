"""Swaps of models under load: `fl_perception` with a camera of 640x480 at 30 Hz, over DDS.

A camera, the node and this process each are a process of their own. Every few seconds another
model is announced, in turn of 32x32 px with 10 classes and of 48x48 px with 7. The table shows

- the frames that were sent, their results, and those that were dropped for a newer one (the node
  counts these once a second, so a few more or less),
- the longest time between two results, in frame periods,
- the time from the announcement of a model to its first result,
- the age of results, from the frame's publication to its result's arrival here, and the time that
  decoding and inference take in the node,
- the memory of the node, while models are swapped as fast as it takes them.

With `--viewer`, a process shows the annotated images, 5 a second, over DDS' default transports.

    .venv/bin/python bench/swap.py                 # a minute, a swap every 5 s, then 400 swaps
    .venv/bin/python bench/swap.py --runs 10 --swaps 0
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from child import Child, usage

RATE_HZ = 30.0
_WAIT_SEC = 120.0
_NEAR_SEC = 0.5

_MAKE_MODEL = """
import sys
import keras
from fl_robot_ros.learning.export import export_model
from fl_robot_ros.learning.initial_model import build_reference_cnn
from pathlib import Path
edge, classes, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
folder.mkdir(parents=True)
export_model(build_reference_cnn(edge, edge, 3, classes), folder)
"""


def run_camera(rate_hz: float) -> None:
    """Publish a moving image; print the time of each, in s since the epoch, which is its stamp."""
    import numpy as np
    import rclpy
    from sensor_msgs.msg import Image

    from fl_robot_ros.ros.image_message import to_header, to_image_message
    from fl_robot_ros.ros.qos import reliable_qos
    from fl_robot_ros.ros.transports import make_room_for_large_images

    make_room_for_large_images()
    rclpy.init()
    camera = rclpy.create_node("camera").create_publisher(
        Image, "camera/image_raw", reliable_qos(10)
    )
    ramp = np.linspace(0, 255, 640, dtype=np.uint8)
    images = [
        np.repeat(np.stack([np.roll(ramp, 40 * n)] * 3, axis=1)[np.newaxis], 480, axis=0)
        for n in range(8)
    ]
    messages = [to_image_message(image, 0, "camera") for image in images]
    while not camera.get_subscription_count():
        time.sleep(0.05)
    time.sleep(1.0)
    count, due = 0, time.monotonic()
    while True:
        message = messages[count % len(messages)]
        stamp_ns = time.time_ns()
        message.header = to_header(stamp_ns, "camera")
        camera.publish(message)
        count += 1
        print(f"{stamp_ns / 1e9:.6f}", flush=True)
        # A camera that was held up goes on; it does not catch up.
        due = max(due + 1.0 / rate_hz, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def run_viewer() -> None:
    """Take annotated images, and be busy for 0.2 s with each."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("viewer")
    node.create_subscription(Image, "fl/perception/image", lambda message: time.sleep(0.2), 10)
    rclpy.spin(node)


class Bench:
    """Owns the processes and what was seen of them."""

    def __init__(self, folder: Path, with_viewer: bool, parameters: Sequence[str]) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from std_msgs.msg import String

        from fl_robot_ros.ros.qos import LATCHED, reliable_qos

        self.folder = folder
        self.written = self.announced = 0
        # Arrival, stamp (both s since the epoch) and model version of each result.
        self.results: list[tuple[float, float, str]] = []
        self.diagnostics: dict[str, str] = {}
        rclpy.init()
        self.node = rclpy.create_node("bench")
        self.paths = self.node.create_publisher(String, "fl/model_path", LATCHED)
        self.node.create_subscription(
            DiagnosticArray, "fl/perception/result", self._on_result, reliable_qos(100)
        )
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable_qos(10)
        )
        words = [f"data_dir:={folder}", *parameters]
        arguments = [word for parameter in words for word in ("-p", parameter)]
        self.perception = Child(
            [sys.executable, "-m", "fl_robot_ros.nodes.perception", "--ros-args", *arguments],
            folder / "perception.log",
        )
        self.camera = self._role("camera")
        self.viewer = self._role("viewer") if with_viewer else None

    def close(self) -> None:
        """End the processes."""
        for child in (self.camera, self.viewer, self.perception):
            if child is not None:
                child.stop()
        self.node.context.try_shutdown()

    def prepare(self, count: int) -> None:
        """Write versions: synced files would hold up this process while it measures."""
        from fl_robot_ros.delivery.manifest import TFLITE_FILE, Manifest
        from fl_robot_ros.delivery.model_file import hash_file

        for _ in range(count):
            self.written += 1
            edge, classes = ((32, 10), (48, 7))[self.written % 2]
            folder = self.folder / "models" / f"v{self.written:05d}"
            folder.mkdir(parents=True)
            shutil.copy(self.folder / f"made-{edge}" / TFLITE_FILE, folder)
            Manifest(
                version=folder.name,
                created="2026-01-01T00:00:00+00:00",
                files={TFLITE_FILE: hash_file(folder / TFLITE_FILE)},
                classes=[f"class {number}" for number in range(classes)],
                preprocessing={"height": edge, "width": edge, "channels": 3, "scale": 1 / 255},
            ).write(folder)

    def announce(self) -> str:
        """Announce a new version; return its name."""
        from std_msgs.msg import String

        self.announced += 1
        version = f"v{self.announced:05d}"
        self.paths.publish(String(data=str(self.folder / "models" / version)))
        return version

    def spin(self, until: Callable[[], bool], timeout_sec: float = _WAIT_SEC) -> bool:
        """Take messages until the condition holds; return whether it did in time."""
        import rclpy

        end = time.monotonic() + timeout_sec
        while not until():
            if time.monotonic() >= end:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.02)
        return True

    def swap(self) -> float:
        """Announce a version; return the time in s until its first result."""
        before = time.time()
        version = self.announce()
        assert self.spin(lambda: bool(self.results) and self.results[-1][2] == version)
        return self.results[-1][0] - before

    def _role(self, role: str) -> Child:
        return Child([sys.executable, __file__, "--role", role], self.folder / f"{role}.log")

    def _on_result(self, message: Any) -> None:
        stamp = message.header.stamp
        values = {value.key: value.value for value in message.status[0].values}
        self.results.append(
            (time.time(), stamp.sec + stamp.nanosec * 1e-9, values["model_version"])
        )

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self.diagnostics = {value.key: value.value for value in status.values}


def measure_load(bench: Bench, seconds: float, every_sec: float) -> None:
    """Swap a model now and then, and print what became of the frames."""
    bench.prepare(2 + round(seconds / every_sec))
    bench.swap()
    bench.spin(lambda: False, 2.0)
    bench.results.clear()
    dropped = int(bench.diagnostics.get("dropped /camera/image_raw", 0))
    begin = time.time()
    swaps: list[float] = []
    announced: list[float] = []
    while time.time() - begin < seconds and bench.announced < bench.written:
        announced.append(time.time())
        swaps.append(bench.swap())
        bench.spin(lambda: False, every_sec - swaps[-1])
    end = time.time()
    bench.spin(lambda: False, 1.5)
    sent = _stamps_sent(bench, begin, end)
    dropped = int(bench.diagnostics["dropped /camera/image_raw"]) - dropped
    results = [result for result in bench.results if begin <= result[1] < end]
    gaps = [
        (RATE_HZ * (after[0] - before[0]), before[0], after[0])
        for before, after in pairwise(results)
    ]
    # Those that a model may have been loaded in.
    swap_gaps = [
        gap
        for gap, start, stop in gaps
        if any(start - _NEAR_SEC < moment < stop for moment in announced)
    ]
    sent_gaps = [RATE_HZ * (after[1] - before[1]) for before, after in pairwise(results)]
    ages = sorted(1000.0 * (arrival - stamp) for arrival, stamp, _ in results)
    print(
        f"frames {sent}, results {len(results)}, dropped {dropped}; longest gap "
        f"{max(gaps)[0]:.2f} periods (around a swap {max(swap_gaps):.2f}, of the camera "
        f"{max(sent_gaps):.2f}); first result after "
        f"{max(swaps):.2f} s at most, of {len(swaps)} swaps; age p50 {ages[len(ages) // 2]:.1f} "
        f"ms, p99 {ages[len(ages) * 99 // 100]:.1f} ms, max {ages[-1]:.1f} ms; inference p50 "
        f"{bench.diagnostics['latency_ms p50']} ms, p95 {bench.diagnostics['latency_ms p95']} ms",
        flush=True,
    )


def measure_memory(bench: Bench, swaps: int) -> None:
    """Swap as fast as the node takes models; print its memory."""
    bench.prepare(swaps + 1)
    for number in range(swaps + 1):
        if number % 50 == 0:
            memory = usage(bench.perception.pid).memory_mb
            print(f"after {number:3} swaps {memory:.1f} MB", flush=True)
        bench.swap()


def _stamps_sent(bench: Bench, begin: float, end: float) -> int:
    """Return the number of frames that the camera published in a time, by its log."""
    times = [float(line) for line in bench.camera.text.split() if line]
    return sum(begin <= sent < end for sent in times)


def main() -> int:
    parser = argparse.ArgumentParser(description="Swaps of models under load.")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a run")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two swaps")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--swaps", type=int, default=400, help="swaps for the memory; 0: none")
    parser.add_argument("--viewer", action="store_true", help="show the annotated images, too")
    parser.add_argument("-p", dest="parameters", action="append", default=[], help="NAME:=VALUE")
    parser.add_argument("--role", choices=("camera", "viewer"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "camera":
        run_camera(RATE_HZ)
    elif arguments.role == "viewer":
        run_viewer()
    if arguments.role:
        return 0
    from fl_robot_ros.demo.ros_domain import private_ros_domain

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load} before the start", flush=True)
    with (
        private_ros_domain() as variables,
        tempfile.TemporaryDirectory(prefix="fl_swap_") as name,
    ):
        os.environ.update(variables)
        folder = Path(name)
        for edge, classes in ((32, 10), (48, 7)):
            command = [sys.executable, "-c", _MAKE_MODEL, str(edge), str(classes)]
            subprocess.run(
                [*command, str(folder / f"made-{edge}")], check=True, capture_output=True
            )
        bench = Bench(folder, arguments.viewer, arguments.parameters)
        try:
            for _ in range(arguments.runs):
                measure_load(bench, arguments.seconds, arguments.every)
            if arguments.swaps:
                measure_memory(bench, arguments.swaps)
        finally:
            bench.close()
            if bench.perception.exit_code:
                print(bench.perception.text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
