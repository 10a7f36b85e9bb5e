"""The cost of capture: `fl_client` against a bare rclpy subscriber that only counts.

A publisher sends rgb8 images at 30 Hz over DDS. The bare subscriber and `fl_client`, which keeps 5
labelled samples a second, listen one after the other, each in its own process; the publisher uses
config/fastdds.xml. The table shows the frames that each received and the CPU time of its process.

    make bench            or    .venv/bin/python bench/capture.py --seconds 60
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SIZES = ((640, 480), (1920, 1080))
RATE_HZ = 30.0
TOPIC, LABEL = "camera/image_raw", "fl/label"
BUILD = Path(__file__).parents[1] / "build"


def publish(width: int, height: int, seconds: float) -> None:
    """Publish a moving image once there is a subscriber; print the number of frames."""
    import numpy as np
    import rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    from fl_robot_ros.ros.image_message import to_image_message
    from fl_robot_ros.ros.qos import reliable_qos
    from fl_robot_ros.ros.transports import make_room_for_large_images

    make_room_for_large_images()
    rclpy.init()
    node = rclpy.create_node("publisher")
    camera = node.create_publisher(Image, TOPIC, reliable_qos(10))
    label = node.create_publisher(String, LABEL, reliable_qos(10))
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    images = [
        np.repeat(np.stack([np.roll(ramp, 40 * n)] * 3, axis=1)[np.newaxis], height, axis=0)
        for n in range(4)
    ]
    messages = [to_image_message(image, 0) for image in images]
    while not camera.get_subscription_count():
        time.sleep(0.05)
    for _ in range(20):  # a bare subscriber takes no labels
        if label.get_subscription_count():
            break
        time.sleep(0.1)
    label.publish(String(data="pallet"))
    time.sleep(1.0)
    print("begin", flush=True)
    begin, count = time.monotonic(), 0
    while (now := time.monotonic()) - begin < seconds:
        message = messages[count % 4]
        stamp_ns = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        camera.publish(message)
        count += 1
        time.sleep(max(0.0, begin + count / RATE_HZ - now))
    print(count, flush=True)
    time.sleep(3.0)  # for frames on their way
    print("end", flush=True)
    rclpy.shutdown()


def count_frames() -> None:
    """Subscribe as rclpy's own examples do, and count."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import Image

    from fl_robot_ros.ros.qos import reliable_qos

    rclpy.init()
    node = rclpy.create_node("counter")
    frames = 0

    def on_image(message: Image) -> None:
        nonlocal frames
        frames += 1

    node.create_subscription(Image, TOPIC, on_image, reliable_qos(30))
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    print(frames, flush=True)


def cpu_sec(pid: int) -> float:
    """Return the CPU time of a process in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(listener: list[str], width: int, height: int, seconds: float) -> tuple[int, float, str]:
    """Let a listener listen; return frames published, its CPU seconds and its output."""
    script = [sys.executable, __file__, "--publish", str(width), str(height), str(seconds)]
    with (
        subprocess.Popen(listener, stdout=subprocess.PIPE, text=True) as child,
        subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as publisher,
    ):
        assert publisher.stdout is not None
        assert publisher.stdout.readline() == "begin\n"
        before = cpu_sec(child.pid)
        published = int(publisher.stdout.readline())
        assert publisher.stdout.readline() == "end\n"
        used = cpu_sec(child.pid) - before
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=60)
    return published, used, output


def received_by_client(data_dir: Path) -> tuple[int, int]:
    """Return the frames that `fl_client` counted and kept, from its file of verdicts."""
    text = (data_dir / "verdicts.txt").read_text()
    counts = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
    return sum(counts.values()), counts.get("kept", 0)


def serve_client(data_dir: Path) -> None:
    """Run `fl_client`, and write its verdicts to a file at the end."""
    from fl_robot_ros.nodes import client

    pipelines = []

    class Client(client.ClientNode):
        def destroy_node(self) -> None:
            pipelines.append(self._pipeline)
            super().destroy_node()

    arguments = ["--ros-args", "-p", f"data_dir:={data_dir}", "-p", "sample_rate_hz:=5.0"]
    client.run_node(client.COMMAND, Client, arguments)
    lines = [f"{name} {count}" for name, count in pipelines[0].verdicts.items()]
    (data_dir / "verdicts.txt").write_text("\n".join(lines))


def compare(seconds: float) -> None:
    """Print what a bare subscriber and `fl_client` cost."""
    print(f"{'image':<12}{'listener':<18}{'published':>10}{'received':>10}{'kept':>6}{'CPU':>8}")
    for width, height in SIZES:
        size = f"{width}x{height}"
        published, bare, output = run(
            [sys.executable, __file__, "--count"], width, height, seconds
        )
        frames = int(output.split()[-1])
        share = bare / seconds
        print(f"{size:<12}{'bare subscriber':<18}{published:>10}{frames:>10}{'':>6}{share:>8.1%}")
        with tempfile.TemporaryDirectory(prefix="bench_capture_", dir=BUILD) as folder:
            published, ours, _ = run(
                [sys.executable, __file__, "--client", folder], width, height, seconds
            )
            frames, kept = received_by_client(Path(folder))
        share = ours / seconds
        print(f"{size:<12}{'fl_client':<18}{published:>10}{frames:>10}{kept:>6}{share:>8.1%}")
        print(f"{'':<12}fl_client needs {ours / bare:.2f} times the CPU of the bare subscriber")


def main() -> int:
    """Run the comparison; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a run (60)")
    parser.add_argument("--publish", nargs=3, type=float, help=argparse.SUPPRESS)
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        publish(int(arguments.publish[0]), int(arguments.publish[1]), arguments.publish[2])
        return 0
    if arguments.count:
        count_frames()
        return 0
    if arguments.client:
        serve_client(arguments.client)
        return 0
    from fl_robot_ros.demo.ros_domain import private_ros_domain

    # In the background of a script SIGINT is ignored, also by children; the listeners need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    BUILD.mkdir(exist_ok=True)
    with private_ros_domain() as variables:
        os.environ.update(variables)
        compare(arguments.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
