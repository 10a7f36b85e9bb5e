"""Capture, import and the model store, killed at random instants.

Nothing that was acknowledged is lost, and the current model is always a whole one.

`KILLS=200 pytest test/system/test_kill_sweep.py` does the long sweep.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.curation.check import check_dataset
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.demo.recording import record_bag

KILLS = int(os.environ.get("KILLS", "10"))


def ramp(number: int) -> NDArray[np.uint8]:
    """Return a grey image that differs by number, uint8 (24, 32)."""
    return np.repeat(np.arange(32, dtype=np.uint8)[np.newaxis] * np.uint8(number % 8), 24, axis=0)


# Live frames and a bag at once; every stamp is printed once the dataset has said "kept".
CAPTURE = """
import os, sys, threading, time
from pathlib import Path
import numpy as np
from fl_robot_ros.images.frame import RawFrame
from fl_robot_ros.capture.pipeline import CapturePipeline
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.dataset.retention import Limits
from fl_robot_ros.dataset.dataset import Dataset

folder, bag, first_ns, limit = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])

class Telling(Dataset):
    def add(self, batch):
        outcomes = super().add(batch)
        kept = [s.stamp_ns for s, outcome in zip(batch, outcomes) if outcome == "kept"]
        # Two threads store, and only a line at a time stays whole.
        os.write(1, (" ".join(map(str, kept)) + "\\n").encode())
        return outcomes

dataset = Telling(folder, Limits(samples_per_label=limit))
settings = ClientSettings(
    sample_rate_hz=1000.0, label_settle_sec=0.0, disk_reserve_mb=0, encoder_threads=2
)
pipeline = CapturePipeline(dataset, settings)
print("ready", flush=True)

def read_bag():
    while True:
        pipeline.import_bag(bag)

threading.Thread(target=read_bag, daemon=True).start()
generator = np.random.default_rng(first_ns)
for number in range(1_000_000):
    stamp_ns = first_ns + number * 1_000_000
    if number % 7 == 0:
        pipeline.offer_label(["cat", "", "dog"][number // 7 % 3], time.time_ns())
    pixels = generator.integers(0, 255, (24, 32, 3), np.uint8)
    pipeline.offer_frame(
        RawFrame("live", stamp_ns, time.time_ns(), "rgb8", 24, 32, 96, False, pixels.tobytes())
    )
    if number % 50 == 49:
        ids = [s.id for s in dataset.unlabelled()[:20]]
        dataset.relabel(ids, "bird")
    time.sleep(0.001)
"""


@pytest.mark.parametrize("limit", [0, 40])
def test_a_kill_at_any_instant_loses_nothing(tmp_path: Path, limit: int) -> None:
    generator = random.Random(limit)
    images = [cv2.applyColorMap(ramp(n), n % 12) for n in range(400)]
    frames = [(image, "red" if n % 2 else "blue") for n, image in enumerate(images)]
    acknowledged: set[int] = set()
    recovered = 0
    for kill in range(KILLS):
        first_ns = 2 * 10**18 + kill * 10**13
        bag = tmp_path / f"bag{kill}"
        record_bag(bag, iter(frames), compressed=False, start_ns=10**18 + kill * 10**13)
        command = [sys.executable, "-c", CAPTURE, str(tmp_path / "data"), str(bag)]
        with subprocess.Popen(
            [*command, str(first_ns), str(limit)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(generator.uniform(0.0, 0.5))
            child.send_signal(signal.SIGKILL)
            lines = child.stdout.read().split("\n")
        # A line that was cut off says nothing.
        acknowledged |= {int(word) for line in lines[:-1] for word in line.split()}
        with Dataset(tmp_path / "data") as dataset:
            recovered += dataset.recovered
            report = check_dataset(dataset)
            assert report.is_sound, report
            assert report.foreign == 0
            assert list((tmp_path / "data" / ".staging").iterdir()) == []
            samples = dataset.samples() + dataset.unlabelled()
            if not limit:
                assert acknowledged <= {sample.stamp_ns for sample in samples}
            for sample in samples[-50:]:
                assert cv2.imread(str(dataset.path / sample.path)) is not None
    assert acknowledged
    print(f"{KILLS} kills, {len(acknowledged)} acknowledged, {recovered} files settled at start")


# A node and a worker change one store. Each kill hits both; what they leave is looked at as it is,
# and after the repair with which a node starts.
MODEL_STORE = """
import os, random, signal, sys, time
from pathlib import Path
from fl_robot_ros.delivery.manifest import Candidate
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import ModelError

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
store = ModelStore(folder, keep_versions=3)
INPUT = {"height": 8, "width": 8, "channels": 3, "scale": 1.0}

def work(dice):
    def build(staging):
        for name in ("model.keras", "model.tflite"):
            (staging / name).write_bytes(os.urandom(100_000))
        after = dice.random()
        metrics = {"holdout_accuracy": after, "holdout_accuracy_before": 0.5}
        return Candidate(
            classes=["a", "b"], preprocessing=INPUT, metrics=metrics, accepted=after > 0.2
        )
    while True:
        store.add(build)

def decide(dice):
    while True:
        versions = [path.name for path in store.versions()]
        try:
            if versions:
                version = dice.choice(versions)
                dice.choice([
                    store.rollback,
                    lambda: store.withdraw(version, "all of one class"),
                    lambda: store.use(version),
                    lambda: store.pin(version),
                    store.unpin,
                    store.repair,
                ])()
        except ModelError:
            pass

def forked(loop, seed):
    child = os.fork()
    if not child:
        try:
            loop(random.Random(seed))
        finally:
            os._exit(1)
    return child

def check(when):
    for version in store.versions():
        store.verify(version.name)
    current = store.current()
    had_one = current is not None
    assert had_one or not os.path.lexists(folder / "current"), (when, os.listdir(folder))
    return had_one

dice, seen = random.Random(1), set()
for kill in range(kills):
    endings = []
    for child in [forked(work, 2 * kill), forked(decide, 2 * kill + 1)]:
        time.sleep(dice.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        endings.append(os.waitpid(child, 0)[1])
    assert endings == [signal.SIGKILL, signal.SIGKILL], "one failed by itself"
    check(kill)
    seen |= {name.partition("-")[0] for name in os.listdir(folder) if name.startswith(".")}
    store.repair()
    hidden = {name for name in os.listdir(folder) if name.startswith(".")}
    assert hidden <= {".lock"}, hidden
    assert check(kill) or not store.versions(), os.listdir(folder)
print(kills, "kills,", store.versions()[-1].name, *sorted(seen))
"""


def test_a_kill_at_any_instant_leaves_a_whole_model_current(tmp_path: Path) -> None:
    kills = os.environ.get("KILLS", "30")
    command = [sys.executable, "-c", MODEL_STORE, str(tmp_path / "models"), kills]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
