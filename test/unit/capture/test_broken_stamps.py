"""Cameras whose stamps stand still, repeat or are zero lose no frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import START_NS, Item, make_image, record
from pipeline_parts import Clock, frame, pipeline

from fl_robot_ros.capture.capture_time import CaptureTime
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.images.frame import frame_digest

SEC = 1_000_000_000
BROKEN: dict[str, Callable[[int], int]] = {
    "the same": lambda ns: START_NS,
    "full seconds": lambda ns: ns // SEC * SEC,
    "microseconds": lambda ns: ns // SEC * SEC + ns % SEC // 1000,
    "nanoseconds alone": lambda ns: ns % SEC,
    "zero": lambda ns: 0,
    "zero now and then": lambda ns: 0 if ns // (SEC // 10) % 7 == 0 else ns - START_NS + 500 * SEC,
    "seconds alone, of boot time": lambda ns: (ns - START_NS) // SEC * SEC + 500 * SEC,
}
SOUND: dict[str, Callable[[int], int]] = {
    "late": lambda ns: ns - 30_000_000,
    "boot time": lambda ns: ns - START_NS + 500 * SEC,
    "an hour ahead": lambda ns: ns + 3600 * SEC,
    "slow simulation": lambda ns: (ns - START_NS) // 20,
    "fast playback": lambda ns: START_NS + (ns - START_NS) * 8,
}


def drive(stamp_of: Callable[[int], int], frames: int = 40) -> list[Item]:
    times = [START_NS + number * SEC // 10 for number in range(frames)]
    items = [Item("/fl/label", START_NS - 1, "cat")]
    items += [
        Item("/camera", time_ns, make_image(number), stamp_ns=stamp_of(time_ns))
        for number, time_ns in enumerate(times)
    ]
    return items


@pytest.mark.parametrize("stamp_of", list(SOUND.values()), ids=list(SOUND))
def test_stamps_that_go_on_are_the_capture_times(stamp_of: Callable[[int], int]) -> None:
    times = CaptureTime()
    for number in range(300):
        published_ns = START_NS + number * SEC // 30
        stamp_ns = stamp_of(published_ns)
        assert times.at("/camera", stamp_ns, published_ns) == stamp_ns


def test_stamps_of_a_fast_camera_and_of_a_bag_recorded_at_once_go_on() -> None:
    for published_step_ns in (500_000, 0):
        times = CaptureTime()
        for number in range(100):
            stamp_ns = START_NS + number * 500_000
            published_ns = START_NS + number * published_step_ns
            assert times.at("/camera", stamp_ns, published_ns) == stamp_ns


@pytest.mark.parametrize("name", ["the same", "full seconds", "microseconds"])
@pytest.mark.parametrize("camera_hz", [10.0, 30.0])
def test_frames_whose_stamps_stand_still_are_sampled_by_publication(
    name: str, camera_hz: float, caplog: pytest.LogCaptureFixture
) -> None:
    times, sampler = CaptureTime(), RateSampler(5.0)
    kept = 0
    for number in range(round(20 * camera_hz)):
        published_ns = START_NS + round(number * SEC / camera_hz)
        time_ns = times.at("/camera", BROKEN[name](published_ns), published_ns)
        assert abs(time_ns - published_ns) < 1_000_000
        kept += sampler.accept("/camera", time_ns)
    assert kept == pytest.approx(100, abs=1)
    assert len(caplog.messages) == (name == "microseconds")


@pytest.mark.parametrize("stamp_of", list(BROKEN.values()), ids=list(BROKEN))
def test_a_bag_with_broken_stamps_is_imported_once(
    tmp_path: Path,
    dataset: Dataset,
    stamp_of: Callable[[int], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(tmp_path / "bag", drive(stamp_of))
    importer = pipeline(dataset)
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"kept": 40}
    assert len(caplog.messages) <= 1
    stored = {(dataset.path / sample.path).read_bytes() for sample in dataset.samples()}
    assert len(stored) == 40
    # Nor is it known by how it is stored.
    for quality, rate_hz in ((95, 1000.0), (50, 1000.0), (95, 2.0)):
        again = pipeline(dataset, jpeg_quality=quality, sample_rate_hz=rate_hz)
        again.import_bag(tmp_path / "bag")
        assert again.verdicts["already_stored"] >= 8
        assert not again.verdicts["kept"]
    assert len(dataset) == 40


@pytest.mark.parametrize("stamp_of", list(BROKEN.values()), ids=list(BROKEN))
def test_a_live_camera_with_broken_stamps_loses_nothing(
    dataset: Dataset, stamp_of: Callable[[int], int]
) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    live.offer_label("cat", START_NS - 1)
    for number in range(40):
        clock.now_ns = START_NS + number * SEC // 10
        stamp_ns = stamp_of(clock.now_ns) or clock.now_ns
        live.offer_frame(frame(number, clock.now_ns, stamp_ns=stamp_ns))
    live.stop()
    assert live.verdicts == {"kept": 40}


def test_a_frame_that_is_published_again_is_stored_once(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    live.offer_label("cat", START_NS - 1)
    for number in range(40):
        clock.now_ns = START_NS + number * SEC // 10
        first = frame(number // 4, clock.now_ns)
        live.offer_frame(replace(first, published_ns=clock.now_ns))
    live.stop()
    assert live.verdicts == {"kept": 10, "already_stored": 30}


def test_times_of_a_label_file_are_those_of_publication_where_stamps_stand_still(
    tmp_path: Path, dataset: Dataset
) -> None:
    record(tmp_path / "bag", [item for item in drive(BROKEN["the same"]) if item.stamp_ns])
    start = START_NS // SEC
    lines = ["start,end,label", f"{start},{start + 1},pallet", f"{start + 1},{start + 9},person"]
    (tmp_path / "bag" / "labels.csv").write_text("\n".join(lines))
    pipeline(dataset).import_bag(tmp_path / "bag")
    assert dataset.counts() == {"pallet": 10, "person": 30}


def test_the_digest_tells_images_apart() -> None:
    image = make_image(1, 480, 640)
    other = image.copy()
    cv2.circle(other, (600, 400), 6, (0, 0, 0), -1)
    assert frame_digest(image.tobytes()) == frame_digest(np.ascontiguousarray(image).ravel())
    assert frame_digest(image.tobytes()) != frame_digest(other.tobytes())
    assert frame_digest(b"") != frame_digest(b"\0")
    assert frame_digest(bytes(10**6)) != frame_digest(bytes(10**6 + 1))
