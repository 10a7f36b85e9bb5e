"""A disk that fills up or takes nothing: a real one, of a few megabytes."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from waiting import wait_until

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.capture.pipeline import CapturePipeline
from fl_robot_ros.cli.dataset import main
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.curation.check import check_dataset
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.images.frame import RawFrame

MB = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of a mounted file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Camera:
    """Offers noisy frames of some 20 kB each as JPEG."""

    def __init__(self, pipeline: CapturePipeline) -> None:
        self._pipeline = pipeline
        self._generator = np.random.default_rng(1)
        self._number = 0

    def shoot(self, frames: int = 20) -> None:
        for _ in range(frames):
            pixels = self._generator.integers(0, 255, (120, 160, 3), np.uint8).tobytes()
            self._number += 1
            stamp_ns = 10**18 + self._number * 10**7
            frame = RawFrame("c", stamp_ns, time.time_ns(), "rgb8", 120, 160, 480, False, pixels)
            self._pipeline.offer_frame(frame)
        wait_until(lambda: self._pipeline.queue_length == 0, "frames in the dataset")


def looked_at(path: Path, out: Path) -> None:
    """Run every command that only looks at a dataset of 20 samples."""
    assert main(["info", "--dataset", str(path)]) == 0
    assert main(["check", "--dataset", str(path)]) == 0
    assert main(["sheet", "--dataset", str(path), "--out", str(out / "sheet.png")]) == 0
    assert main(["export", "--dataset", str(path), "--to", str(out / "sorted")]) == 0
    assert len(list((out / "sorted" / "cat").iterdir())) == 20


@pytest.mark.parametrize("what", ["read-only", "full", "read-only after a crash"])
def test_a_dataset_can_be_looked_at_where_nothing_can_be_written(
    small_disk: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_disk / "data"
    generator = np.random.default_rng(2)
    samples = []
    for number in range(20):
        image = generator.integers(0, 255, (120, 160, 3), np.uint8)
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        samples.append(NewSample("cat", "c", 10**18 + number, jpeg, 160, 120))
    dataset = Dataset(data)
    dataset.add(samples)
    if "crash" in what:
        # As the files are at that instant.
        shutil.copytree(data, small_disk / "crashed")
        data = small_disk / "crashed"
        assert (data / "index.sqlite3-wal").stat().st_size
    dataset.close()
    if "read-only" in what:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    else:
        with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"\0" * 4096):
                pass
    before = sorted(small_disk.rglob("*.jpg"))

    looked_at(data, tmp_path)

    assert sorted(small_disk.rglob("*.jpg")) == before
    capsys.readouterr()
    assert main(["label", "--dataset", str(data), "--id", "1", "--as", "dog", "--all"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert ("Read-only" if "read-only" in what else "full") in line


@pytest.mark.parametrize("reserve_mb", [3, 0])
def test_capture_pauses_on_a_full_disk_and_resumes_when_there_is_room(
    small_disk: Path, reserve_mb: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    verdict = "disk_full" if reserve_mb else "disk_error"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 5 * MB)
    with Dataset(small_disk / "data") as dataset:
        pipeline = CapturePipeline(
            dataset,
            ClientSettings(
                sample_rate_hz=1000.0,
                queue_size=1000,
                label_settle_sec=0.0,
                review_pool_size=0,
                disk_reserve_mb=reserve_mb,
            ),
        )
        camera = Camera(pipeline)
        pipeline.offer_label("cat", 0)
        for _ in range(100):
            camera.shoot()
            if pipeline.verdicts[verdict] >= 40:
                break
        assert pipeline.verdicts[verdict] >= 40
        kept = pipeline.verdicts["kept"]
        assert 0 < kept == len(dataset)
        assert pipeline.is_disk_full == bool(reserve_mb)
        assert len(caplog.messages) == 1, caplog.messages
        assert check_dataset(dataset).is_sound

        ballast.unlink()
        wait_until(lambda: not pipeline.is_disk_full, "room")
        camera.shoot()
        assert pipeline.verdicts["kept"] == kept + 20
        pipeline.stop()
    with Dataset(small_disk / "data") as dataset:
        assert dataset.recovered == 0
        assert check_dataset(dataset).is_sound
        assert len(dataset) == kept + 20
