"""The cost of perception: LiteRT against Keras, and `fl_perception` against a bare subscriber.

First the time of one image, by the median: `Predictor.predict`, which takes a 640x480 image;
`Predictor.infer`, which takes the model's input; and for that input Keras' `model.predict` and
`model(x)`. LiteRT has one thread, TensorFlow all. The models have random weights, on which the
time does not depend.

Then the CPU time for each frame of a camera with 640x480 rgb8 images at 30 Hz: of a bare rclpy
subscriber that only counts, and of `fl_perception`.

    make bench            or    .venv/bin/python bench/perception.py --seconds 60
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import capture
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.cli.terminal import quiet_libraries
from fl_robot_ros.demo.ros_domain import private_ros_domain

WIDTH, HEIGHT = 640, 480
CLASSES = 10
SCALE = 1 / 255
# Each way runs for so long, but so many times at least.
LEAST_SEC, LEAST_TIMES = 2.0, 20
WARM_UP = 5
BUILD = Path(__file__).parents[1] / "build"

Models = dict[str, Callable[[], Any]]


def models() -> Models:
    """Return what builds each Keras model, by name."""
    import keras

    from fl_robot_ros.learning.initial_model import build_reference_cnn

    def mobile_net(edge: int) -> Callable[[], Any]:
        shape = (edge, edge, 3)
        return lambda: keras.applications.MobileNetV2(shape, weights=None, classes=CLASSES)

    return {
        "reference CNN 32": lambda: build_reference_cnn(32, 32, 3, CLASSES),
        "MobileNetV2 96": mobile_net(96),
        "MobileNetV2 224": mobile_net(224),
    }


def write_version(model: Any, folder: Path) -> None:
    """Write a model as a version."""
    from fl_robot_ros.delivery.manifest import Manifest
    from fl_robot_ros.images.preprocessing import Preprocessing
    from fl_robot_ros.learning.export import export_model

    folder.mkdir()
    export_model(model, folder)
    height, width, channels = model.input_shape[1:]
    Manifest(
        version=folder.name,
        created="2026-01-01T00:00:00+00:00",
        files={
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        },
        classes=[f"class {number}" for number in range(CLASSES)],
        preprocessing=Preprocessing(height, width, channels, SCALE).to_dict(),
    ).write(folder)


def time_of(action: Callable[[], Any]) -> float:
    """Return the median time of an action in s."""
    for _ in range(WARM_UP):
        action()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < LEAST_TIMES or time.perf_counter() - begin < LEAST_SEC:
        before = time.perf_counter()
        action()
        times.append(time.perf_counter() - before)
    return median(times)


def time_ways(model: Any, version: Path, image: NDArray[np.uint8]) -> tuple[float, ...]:
    """Return the time in s of `predict`, `infer`, Keras' `predict` and `model(x)`."""
    from fl_robot_ros.delivery.predictor import Predictor

    predictor = Predictor(version)
    model_input = predictor.preprocessing.apply(image)
    batch = model_input[np.newaxis]
    return (
        time_of(lambda: predictor.predict(image)),
        time_of(lambda: predictor.infer(model_input)),
        time_of(lambda: model.predict(batch, verbose=0)),
        # As a user reads the result.
        time_of(lambda: np.asarray(model(batch, training=False))),
    )


def compare_with_keras(folder: Path) -> None:
    """Print the time of one image by each way, and write the versions."""
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    print(f"{'one image':<18}{'predict':>10}{'infer':>10}{'Keras predict':>15}{'model(x)':>11}")
    for name, build in models().items():
        model = build()
        version = folder / name.replace(" ", "_")
        write_version(model, version)
        times = time_ways(model, version, image)
        ours, infer, predict, call = (f"{seconds * 1e3:.2f} ms" for seconds in times)
        print(f"{name:<18}{ours:>10}{infer:>10}{predict:>15}{call:>11}")
        ratios = (f"{seconds / times[1]:.0f}x" for seconds in times[2:])
        print("{:<38}{:>15}{:>11}".format("  in times of infer", *ratios), flush=True)


def compare_with_subscriber(folder: Path, seconds: float) -> None:
    """Print the CPU time for each frame of a bare subscriber and of the node."""
    # In the background of a script SIGINT is ignored, also by children; the listeners need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["RCUTILS_LOGGING_USE_STDOUT"] = "1"
    print(f"\n{'640x480 at 30 Hz':<36}{'published':>10}{'taken':>8}{'CPU per frame':>16}")
    bare = 0.0
    listeners = {"bare subscriber": [sys.executable, capture.__file__, "--count"]}
    for name in ("reference CNN 32", "MobileNetV2 96"):
        version = folder / name.replace(" ", "_")
        listeners[f"fl_perception, {name}"] = [
            *(sys.executable, "-m", "fl_robot_ros.nodes.perception"),
            *("--ros-args", "-p", f"model_path:={version}"),
        ]
    for name, command in listeners.items():
        published, used, output = capture.run(command, WIDTH, HEIGHT, seconds)
        found = re.search(r"labelled (\d+) frames", output)
        taken = int(found[1] if found else output.split()[-1])
        per_frame = used / published
        print(f"{name:<36}{published:>10}{taken:>8}{per_frame * 1e3:>13.2f} ms", flush=True)
        if bare:
            print(f"  {per_frame / bare:.2f} times the bare subscriber", flush=True)
        bare = bare or per_frame


def main() -> int:
    """Run both comparisons; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a run (20)")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    BUILD.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before it began", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench_perception_", dir=BUILD) as folder:
        with quiet_libraries():
            compare_with_keras(Path(folder))
        with private_ros_domain() as variables:
            os.environ.update(variables)
            compare_with_subscriber(Path(folder), arguments.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
