"""Labels of a bag's frames, as an import gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bag_recorder import START_NS, Item, record

from fl_robot_ros.capture.labelled_bag import LabelledBag
from fl_robot_ros.capture.pipeline import CapturePipeline
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.labels.labeller import LabelRules

SEC = 1_000_000_000


def image(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((8, 8, 3), number % 256, np.uint8)


def drive(steps: Sequence[tuple[float, str]], cameras: Sequence[str]) -> list[Item]:
    """Return 10 s of frames at 5 Hz, with labels of /robot1 and, the same later, of /robot2."""
    items = []
    for index, camera in enumerate(cameras):
        for number in range(50):
            time_ns = START_NS + number * SEC // 5 + index
            items.append(Item(camera, time_ns, image(number), stamp_ns=time_ns - 1000))
        for begin_sec, label in steps:
            space = camera.split("/")[1]
            time_ns = START_NS + round((begin_sec + index) * SEC)
            items.append(Item(f"/{space}/fl/label", time_ns, label))
    return sorted(items, key=lambda item: item.time_ns)


@pytest.mark.parametrize(
    "rules",
    [LabelRules(), LabelRules(hold_sec=1.0), LabelRules(lookback_sec=2.0)],
    ids=["plain", "hold", "lookback"],
)
@pytest.mark.parametrize("label_file", ["", "start,end,label\n1,2.5,green\n3,4,\n"])
def test_labels_are_those_of_an_import(rules: LabelRules, label_file: str, tmp_path: Path) -> None:
    steps = [(0.5, "red"), (3.0, ""), (6.0, "blue"), (6.5, "no\nlabel")]
    record(tmp_path / "bag", drive(steps, ["/robot1/camera", "/robot2/camera"]))
    if label_file:
        (tmp_path / "bag" / "labels.csv").write_text(label_file)
    with Dataset(tmp_path / "dataset") as dataset:
        settings = ClientSettings(
            sample_rate_hz=1000.0,
            label_hold_sec=rules.hold_sec,
            label_lookback_sec=rules.lookback_sec,
            disk_reserve_mb=0,
        )
        pipeline = CapturePipeline(dataset, settings)
        pipeline.import_bag(tmp_path / "bag")
        pipeline.stop()
        stored = [*dataset.samples(), *dataset.unlabelled()]
    imported = {(sample.topic, sample.stamp_ns): sample.label for sample in stored}
    bag = LabelledBag(tmp_path / "bag", rules=rules)
    labelled = {(frame.topic, frame.stamp_ns): label for frame, label in bag.frames()}
    assert len(labelled) == 100
    assert labelled == imported
    assert set(labelled.values()) >= {"red", "blue", ""}
    assert bag.report.is_label_file_used is bool(label_file)
    assert bag.report.image_topics == ("/robot1/camera", "/robot2/camera")


def test_times_that_stand_still_do_not_fill_the_memory(tmp_path: Path) -> None:
    large = np.zeros((1024, 1024, 3), np.uint8)
    record(tmp_path / "bag", [Item("/camera", START_NS, large) for _ in range(25)])
    bag = LabelledBag(tmp_path / "bag")
    frames = bag.frames()
    next(frames)
    assert bag.report.frames_read < 25
    assert sum(1 for _ in frames) == 24
