"""How fast a rosbag becomes a dataset: `fl_client`'s import against a usual script.

The peer is a script as people write it: rosbags, rosbags-image and `cv2.imwrite` in one thread,
without index, hash or sync. Ours is the node's import: labels, filters, hash, index, fsync. Both
write JPEG files of the same quality from the same bag; the table also shows reading alone. Every
contestant runs in a fresh process, in turn, several times.

    make bench            or    .venv/bin/python bench/ingest.py --size 1280x720
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SIZES = ("640x480", "1280x720", "1920x1080")
# Pixels of a bag: a minute of 640x480 at 30 Hz, or less of larger images. A bag of JPEG files has
# four times as many: they are read so fast that a run would take half a second.
BAG_PX = 1800 * 640 * 480
JPEG_BAG_PX = 4 * BAG_PX
# Our default for raw images; image_transport's for JPEG images.
QUALITY = {"sqlite3": 95, "mcap": 95, "mcap, zstd": 95, "mcap, JPEG": 80}
START_NS = 1_700_000_000_000_000_000
KINDS = tuple(QUALITY)
HEADING = f"{'bag':<12}{'contestant':<18}{'cores':>5}{'frames/s':>10}{'x peer':>8}{'kB/file':>9}"


def scene(number: int, width: int, height: int) -> np.ndarray:
    """Return an image with the smooth and the busy parts of a photograph, RGB."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    fine = generator.normal(0, 6, (height, width, 1)).astype(np.int16)
    image += cv2.GaussianBlur(fine, (3, 3), 0)[..., None]
    image = np.clip(image, 0, 255).astype(np.uint8)
    centre = (40 + number * 7 % (width - 80), height // 2)
    cv2.circle(image, centre, 60, (250, 250, 250), -1)
    cv2.putText(image, str(number), centre, cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 20, 20), 5)
    return image


def record(path: Path, kind: str, frames: int, width: int, height: int) -> None:
    """Write a bag of one camera at 30 Hz with a label."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    image_type, header, stamp = (
        types.types[f"{name}"]
        for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    compressed_type = types.types["sensor_msgs/msg/CompressedImage"]
    string_type = types.types["std_msgs/msg/String"]
    is_jpeg = kind.endswith("JPEG")
    plugin = StoragePlugin.SQLITE3 if kind == "sqlite3" else StoragePlugin.MCAP
    writer = Writer(path, version=9, storage_plugin=plugin)
    if kind.endswith("zstd"):
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        name = "sensor_msgs/msg/CompressedImage" if is_jpeg else "sensor_msgs/msg/Image"
        camera = writer.add_connection("/camera/image", name, typestore=types)
        label = writer.add_connection("/fl/label", "std_msgs/msg/String", typestore=types)
        message = string_type(data="pallet")
        writer.write(label, START_NS, types.serialize_cdr(message, "std_msgs/msg/String"))
        for number in range(frames):
            time_ns = START_NS + 1 + number * 1_000_000_000 // 30
            head = header(stamp=stamp(*divmod(time_ns, 10**9)), frame_id="camera")
            image = scene(number, width, height)
            if is_jpeg:
                bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
                data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY[kind]])[1]
                content = compressed_type(header=head, format="jpeg", data=data.reshape(-1))
            else:
                content = image_type(
                    header=head,
                    height=height,
                    width=width,
                    encoding="rgb8",
                    is_bigendian=0,
                    step=3 * width,
                    data=image.reshape(-1),
                )
            writer.write(camera, time_ns, types.serialize_cdr(content, name))


def read_alone(bag: Path, out: Path, quality: int) -> int:
    """Read every message, without looking inside."""
    from rosbags.highlevel import AnyReader

    with AnyReader([bag]) as reader:
        return sum(1 for _, _, data in reader.messages() if data)


def write_as_people_do(bag: Path, out: Path, quality: int) -> int:
    """Convert with rosbags-image and write with OpenCV."""
    from rosbags.highlevel import AnyReader
    from rosbags.image import message_to_cvimage

    count = 0
    with AnyReader([bag]) as reader:
        cameras = [item for item in reader.connections if "Image" in item.msgtype]
        for connection, time_ns, data in reader.messages(cameras):
            message = reader.deserialize(data, connection.msgtype)
            image = message_to_cvimage(message, "bgr8")
            cv2.imwrite(str(out / f"{time_ns}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            count += 1
    return count


def import_as_the_node_does(bag: Path, out: Path, quality: int) -> int:
    """Import with all filters on; here they drop nothing, so that both write the same."""
    from fl_robot_ros.capture.pipeline import CapturePipeline
    from fl_robot_ros.config import ClientSettings
    from fl_robot_ros.dataset.dataset import Dataset

    settings = ClientSettings(
        sample_rate_hz=1000.0,
        jpeg_quality=quality,
        min_brightness=1.0,
        max_brightness=254.0,
        min_sharpness=0.1,
        min_difference_bits=1,
    )
    with Dataset(out) as dataset:
        pipeline = CapturePipeline(dataset, settings)
        pipeline.import_bag(bag)
        pipeline.stop()
        return pipeline.verdicts["kept"]


CONTESTANTS = {
    "reading alone": read_alone,
    "script of today": write_as_people_do,
    "ours": import_as_the_node_does,
}


def contest(name: str, kind: str, bag: Path, cores: int) -> None:
    """Run one contestant in this process and print its result as JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    cv2.setNumThreads(1)
    folder = Path(tempfile.mkdtemp(dir=bag.parent))
    warm_up, out = folder / "warm-up", folder / "out"
    warm_up.mkdir()
    out.mkdir()
    # The first use of every library is not measured.
    CONTESTANTS[name](bag.with_name("warm-up"), warm_up, QUALITY[kind])
    # Our syncs would also write the unwritten data of the contestants before.
    os.sync()
    begin = time.perf_counter()
    frames = CONTESTANTS[name](bag, out, QUALITY[kind])
    seconds = time.perf_counter() - begin
    print(json.dumps({"frames": frames, "seconds": seconds, "bytes": emptied(out, "*.jpg")}))


def emptied(folder: Path, pattern: str) -> int:
    """Empty the files of a folder with such names; return how many bytes there were.

    For minutes, ext4 skips the inodes of removed files one by one whenever it makes new files, at
    the cost of the next contestant. So nothing is removed before the end.
    """
    files = [item for item in folder.rglob(pattern) if item.is_file()]
    size = sum(item.stat().st_size for item in files)
    for item in files:
        os.truncate(item, 0)
    return size


def main() -> int:
    """Run the contest; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", nargs="+", default=SIZES, metavar="WxH", help=f"of images ({' '.join(SIZES)})"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each contestant (3)")
    parser.add_argument(
        "--contest", nargs=4, metavar=("NAME", "KIND", "BAG", "CORES"), help="one run"
    )
    arguments = parser.parse_args()
    if arguments.contest:
        name, kind, bag, cores = arguments.contest
        contest(name, kind, Path(bag), int(cores))
        return 0
    cores = min(2, len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="bench_ingest_") as folder:
        for size in arguments.size:
            width, height = map(int, size.split("x"))
            print(f"images of {size}, median of {arguments.repeat} runs")
            print(HEADING)
            for number, kind in enumerate(KINDS):
                bag = Path(folder, f"{size}_{number}", "bag")
                bag.parent.mkdir()
                bag_px = JPEG_BAG_PX if kind.endswith("JPEG") else BAG_PX
                record(bag, kind, max(1, bag_px // (width * height)), width, height)
                record(bag.with_name("warm-up"), kind, 30, width, height)
                compare(kind, bag, arguments.repeat, cores)
                emptied(bag, "*")
    return 0


def compare(kind: str, bag: Path, repeat: int, cores: int) -> None:
    """Let all contestants read the same bag in turn, and print their speeds."""
    bag_bytes = sum(item.stat().st_size for item in bag.iterdir())
    runs = [("reading alone", 1), ("script of today", 1)]
    runs += [("ours", count) for count in range(1, cores + 1)]
    results: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    for _ in range(repeat):
        for name, count in runs:
            command = [sys.executable, __file__, "--contest", name, kind, str(bag), str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[name, count].append(json.loads(done.stdout.splitlines()[-1]))
    if len({item["frames"] for run in runs[1:] for item in results[run]}) > 1:
        raise RuntimeError(f"{bag}: a contestant did not write every frame")
    peer = _frames_per_sec(results["script of today", 1])
    for (name, count), found in results.items():
        rate = _frames_per_sec(found)
        size = found[0]["bytes"] / found[0]["frames"] / 1e3
        print(f"{kind:<12}{name:<18}{count:>5}{rate:>10.0f}{rate / peer:>8.2f}{size:>9.1f}")
    frames = results["ours", 1][0]["frames"]
    seconds_per_gb = frames / _frames_per_sec(results["ours", cores]) / bag_bytes * 1e9
    print(f"{'':<12}{frames} frames; ours: {seconds_per_gb:.1f} s per GB of this bag", flush=True)


def _frames_per_sec(results: list[dict[str, float]]) -> float:
    return statistics.median(item["frames"] / item["seconds"] for item in results)


if __name__ == "__main__":
    sys.exit(main())
