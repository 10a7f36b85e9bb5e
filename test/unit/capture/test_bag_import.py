"""Bags on their way to the dataset, read and processed by several threads."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bag_recorder import START_NS, Item, drive, images_of, make_image, record
from pipeline_parts import Clock, GatedDataset, frame, pipeline
from rosbags.rosbag2 import StoragePlugin

from fl_robot_ros.bags.bag import LabelMessage, open_bag
from fl_robot_ros.capture import bag_import
from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.settling_queue import SettlingQueue
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import BagError, DatasetError
from fl_robot_ros.images.frame import CompressedFrame

SEC = 1_000_000_000


class UnsteadyProcessor(FrameProcessor):
    """A processor that takes now a long, now a short time."""

    def __init__(self) -> None:
        super().__init__(ClientSettings())
        self._random = random.Random(5)
        self.threads: set[int] = set()

    def process(self, frame: Any) -> Any:
        self.threads.add(threading.get_ident())
        time.sleep(self._random.choice((0.0, 0.0, 0.003)))
        return super().process(frame)


class FailingProcessor(FrameProcessor):
    """A processor that fails at the 100th frame."""

    def __init__(self) -> None:
        super().__init__(ClientSettings())
        self._count = itertools.count(1)

    def process(self, frame: Any) -> Any:
        if next(self._count) == 100:
            raise MemoryError("no memory left")
        return super().process(frame)


def test_a_label_file_beside_the_bag_comes_before_the_labels_in_it(
    tmp_path: Path, dataset: Dataset
) -> None:
    record(tmp_path / "bag", drive(20))
    (tmp_path / "bag" / "labels.csv").write_text("start,end,label\n0,0.55,forklift\n")
    pipeline(dataset).import_bag(tmp_path / "bag")
    assert dataset.counts()["forklift"] == 6
    assert len(dataset) == 20


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("compressed", [False, True])
def test_bag_is_imported_once(
    tmp_path: Path, dataset: Dataset, storage: StoragePlugin, compressed: bool
) -> None:
    record(tmp_path / "bag", drive(150, compressed=compressed), storage)
    importer = pipeline(dataset)
    progress: list[tuple[int, int]] = []
    report = importer.import_bag(
        tmp_path / "bag", progress=lambda *numbers: progress.append(numbers)
    )
    assert report.complete
    assert progress == sorted(progress)
    assert {expected for _, expected in progress} == {150}
    assert progress[-1] == (150, 150)
    assert dataset.counts() == {"cat": 75, "dog": 75}
    files = sorted(dataset.path.rglob("*.jpg"))
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"kept": 150, "already_stored": 150}
    assert sorted(dataset.path.rglob("*.jpg")) == files
    assert len(dataset) == len(files) == 150


def test_labels_that_come_later_reach_a_bag_that_was_read_before(
    tmp_path: Path, dataset: Dataset
) -> None:
    record(tmp_path / "bag", images_of(drive(30)))
    importer = pipeline(dataset, review_pool_size=1)
    importer.import_bag(tmp_path / "bag")
    labels = tmp_path / "later.csv"
    labels.write_text("start,end,label\n0,0.95,pallet\n")
    importer.import_bag(tmp_path / "bag", label_file=labels)
    assert importer.verdicts == {"review": 30, "labelled": 10, "already_stored": 20}
    assert (dataset.counts(), dataset.num_unlabelled()) == ({"pallet": 10}, 20)


def test_a_label_file_that_fits_no_frame_is_named(
    tmp_path: Path, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    record(tmp_path / "bag", drive(6))
    labels = tmp_path / "labels.csv"
    labels.write_text("start,end,label\n2024-05-01T12:00:00Z,2024-05-01T12:01:00Z,pallet\n")
    report = pipeline(dataset).import_bag(tmp_path / "bag", label_file=labels)
    assert not report.is_label_file_used
    (message,) = caplog.messages
    assert message.startswith(f"label file {labels} has the time of no frame of bag;")
    labels.write_text("start,end,label\n0,1,\n")
    assert pipeline(dataset).import_bag(tmp_path / "bag", label_file=labels).is_label_file_used
    assert len(caplog.messages) == 1


def test_bag_is_sampled_by_its_own_time(tmp_path: Path, dataset: Dataset) -> None:
    record(tmp_path / "bag", drive(90, rate_hz=30.0))
    importer = pipeline(dataset, sample_rate_hz=5.0)
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"kept": 15, "sampled_out": 75}


def test_compressed_frames_of_a_bag_are_stored_byte_for_byte(
    tmp_path: Path, dataset: Dataset
) -> None:
    record(tmp_path / "bag", drive(4, compressed=True))
    pipeline(dataset).import_bag(tmp_path / "bag")
    originals = {
        item.stamp_ns: bytes(item.data)
        for item in open_bag(tmp_path / "bag")
        if isinstance(item, CompressedFrame)
    }
    stored = {item.stamp_ns: (dataset.path / item.path).read_bytes() for item in dataset.samples()}
    assert stored == originals


def test_bag_does_not_mix_its_labels_with_live_ones(tmp_path: Path, dataset: Dataset) -> None:
    record(tmp_path / "bag", [item for item in drive(10) if not isinstance(item.content, str)])
    importer = pipeline(dataset)
    importer.offer_label("bird", 0)
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"unlabelled": 10}


def test_readable_part_of_a_cut_bag_is_stored(tmp_path: Path, dataset: Dataset) -> None:
    file = record(tmp_path / "bag", drive(60, size=(120, 160)))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    report = pipeline(dataset).import_bag(tmp_path / "bag")
    assert not report.complete
    assert len(dataset) == report.frames_read >= 28


def test_bag_that_is_none_leaves_the_pipeline_usable(tmp_path: Path, dataset: Dataset) -> None:
    importer = pipeline(dataset)
    with pytest.raises(BagError):
        importer.import_bag(tmp_path / "nothing")
    record(tmp_path / "bag", drive(4))
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"kept": 4}


def test_stop_cuts_an_import_short_and_keeps_what_was_read(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bag_import, "_BATCH", 8)
    record(tmp_path / "bag", drive(300, size=(240, 320)))
    importer = pipeline(dataset)
    report = importer.import_bag(tmp_path / "bag", progress=lambda *_: importer.stop())
    assert not report.complete
    assert "stopped" in report.loss
    assert 0 < len(dataset) < 300


def test_full_disk_during_an_import_is_counted(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    store = GatedDataset()
    store.error = DatasetError("disk is full")
    importer = pipeline(store)
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"disk_error": 10}


@pytest.mark.parametrize("lookback_sec", [0.0, 0.5])
def test_threads_of_any_speed_keep_the_order_and_the_labels(
    tmp_path: Path, dataset: Dataset, lookback_sec: float
) -> None:
    record(tmp_path / "bag", drive(400, ("cat", "dog", "", "bird")))
    processor = UnsteadyProcessor()
    importer = pipeline(
        dataset,
        processor=processor,
        label_lookback_sec=lookback_sec,
        review_pool_size=1,
        encoder_threads=3,
    )
    assert importer.import_bag(tmp_path / "bag").complete
    assert len(processor.threads) > 1
    samples = sorted(dataset.samples() + dataset.unlabelled())
    assert [sample.stamp_ns for sample in samples] == sorted(s.stamp_ns for s in samples)
    # 10 frames a second: five of those without a label are within reach of "bird".
    reached = round(10 * lookback_sec)
    labels = ["cat"] * 100 + ["dog"] * 100 + [""] * (100 - reached) + ["bird"] * (100 + reached)
    assert [sample.label for sample in samples] == labels


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_any_thread_ends_the_import(
    tmp_path: Path, dataset: Dataset, threads: int
) -> None:
    record(tmp_path / "bag", drive(400))
    importer = pipeline(dataset, processor=FailingProcessor(), encoder_threads=threads)
    with pytest.raises(MemoryError, match="no memory left"):
        importer.import_bag(tmp_path / "bag")
    # What was processed before, or meanwhile, is kept.
    assert 99 <= len(dataset) == importer.verdicts["kept"] < 400


def test_an_interrupt_keeps_what_was_read(tmp_path: Path, dataset: Dataset) -> None:
    record(tmp_path / "bag", drive(600))
    importer = pipeline(dataset, processor=UnsteadyProcessor(), encoder_threads=1)

    def interrupt(read: int, expected: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importer.import_bag(tmp_path / "bag", progress=interrupt)
    assert 0 < len(dataset) == importer.verdicts["kept"] < 600
    assert importer.import_bag(tmp_path / "bag").complete
    assert len(dataset) == 600


def test_a_label_that_is_repeated_often_is_not_lost(tmp_path: Path, dataset: Dataset) -> None:
    items = [Item("/fl/label", START_NS + number * SEC // 100, "cat") for number in range(9000)]
    items += [
        Item("/camera", START_NS + number * SEC, make_image(number)) for number in range(1, 90)
    ]
    record(tmp_path / "bag", sorted(items, key=lambda item: item.time_ns))
    importer = pipeline(dataset, encoder_threads=2)
    assert importer.import_bag(tmp_path / "bag").complete
    importer.stop()
    assert dataset.counts() == {"cat": 89}


def test_every_robot_of_a_bag_has_its_own_labels(tmp_path: Path, dataset: Dataset) -> None:
    items = []
    for number in range(20):
        time_ns = START_NS + number * SEC
        items += [
            Item("/robot1/fl/label", time_ns, "pallet"),
            Item("/robot2/fl/label", time_ns + 1, "person"),
            Item("/robot1/camera", time_ns + 2, make_image(number)),
            Item("/robot2/camera", time_ns + 3, make_image(number)),
            Item("/camera", time_ns + 4, make_image(number)),
        ]
    record(tmp_path / "bag", items)
    importer = pipeline(dataset)
    importer.import_bag(tmp_path / "bag")
    importer.stop()
    found = {(sample.topic, sample.label) for sample in dataset.samples()}
    assert found == {("/robot1/camera", "pallet"), ("/robot2/camera", "person")}
    assert importer.verdicts == {"kept": 40, "unlabelled": 20}


def test_relative_times_count_from_the_beginning_of_the_recording(
    tmp_path: Path, dataset: Dataset
) -> None:
    items = [Item("/chatter", START_NS, "hello")]
    items += [
        Item("/camera", START_NS + number * SEC, make_image(number)) for number in range(10, 30)
    ]
    record(tmp_path / "bag", items)
    lines = ["start,end,label", "10,20,pallet", "20,30,person"]
    (tmp_path / "bag" / "labels.csv").write_text("\n".join(lines))
    importer = pipeline(dataset)
    importer.import_bag(tmp_path / "bag")
    importer.stop()
    assert dataset.counts() == {"pallet": 10, "person": 10}


def test_relative_times_of_a_bag_hold_for_each_of_its_files(
    tmp_path: Path, dataset: Dataset
) -> None:
    items = [Item("/camera", START_NS + number * SEC, make_image(number)) for number in range(20)]
    bag = record_split(tmp_path, [items[:8], items[8:]])
    (bag / "labels.csv").write_text("start,end,label\n0,10,pallet\n10,20,person\n")
    metadata = (tmp_path / "part0" / "metadata.yaml").read_text()
    files = "relative_file_paths:\n  - split_0.mcap\n  - "
    (bag / "metadata.yaml").write_text(metadata.replace("relative_file_paths:\n  - ", files))
    importer = pipeline(dataset)
    importer.import_bag(bag / "split_1.mcap")
    importer.stop()
    assert dataset.counts() == {"pallet": 2, "person": 10}


def clock_set_back() -> list[list[Item]]:
    """Return what a recorder whose clock is set back by a minute wrote into two files."""
    first = [Item("/fl/label", START_NS, "pallet")]
    first += [Item("/camera", START_NS + n * SEC, make_image(n)) for n in range(1, 40)]
    # The label goes on for 20 s; where the clock passes START_NS again, it must not come back.
    start_ns = START_NS - 20 * SEC - SEC // 2
    second = [Item("/camera", start_ns + n * SEC, make_image(n)) for n in range(60)]
    second.insert(20, Item("/fl/label", second[20].time_ns - 1, "person"))
    return [first, second]


def record_split(folder: Path, parts: list[list[Item]]) -> Path:
    """Write a split bag without metadata."""
    (folder / "split").mkdir()
    for number, items in enumerate(parts):
        part = record(folder / f"part{number}", items)
        shutil.move(part, folder / "split" / f"split_{number}.mcap")
    return folder / "split"


@pytest.mark.parametrize(
    ("hold_sec", "counts"),
    [(0.0, {"pallet": 59, "person": 40}), (50.0, {"pallet": 50, "person": 40, "": 9})],
)
def test_a_clock_set_back_gives_the_samples_of_the_same_bag_played(
    tmp_path: Path, dataset: Dataset, hold_sec: float, counts: dict[str, int]
) -> None:
    bag = record_split(tmp_path, clock_set_back())
    options: dict[str, Any] = {
        "label_hold_sec": hold_sec,
        "review_pool_size": 1,
        "queue_size": 1000,
    }
    importer = pipeline(dataset, **options)
    assert importer.import_bag(bag).complete
    importer.stop()
    clock = Clock()
    with Dataset(tmp_path / "played") as played:
        live = pipeline(played, clock, **options)
        last_ns = START_NS
        for item in open_bag(bag):
            # A player does not go back in time.
            clock.now_ns += max(1, item.published_ns - last_ns)
            last_ns = item.published_ns
            if isinstance(item, LabelMessage):
                live.offer_label(item.label, clock.now_ns)
            else:
                live.offer_frame(replace(item, published_ns=clock.now_ns))
        live.stop()
        read_in, expected = (
            sorted((item.stamp_ns, item.label) for item in store.samples() + store.unlabelled())
            for store in (dataset, played)
        )
    assert read_in == expected
    assert Counter(label for _, label in read_in) == counts


def test_files_with_one_topic_each_are_no_clock_set_back(tmp_path: Path, dataset: Dataset) -> None:
    items = drive(60)
    parts = [
        [item for item in items if isinstance(item.content, str)],
        images_of(items)[::2],
        [replace(item, topic="/rear") for item in images_of(items)[1::2]],
    ]
    importer = pipeline(dataset)
    importer.import_bag(record_split(tmp_path, parts))
    importer.stop()
    labels = [sample.label for sample in sorted(dataset.samples(), key=lambda s: s.stamp_ns)]
    assert labels == ["cat"] * 30 + ["dog"] * 30


@pytest.mark.parametrize("step_sec", [0, -3600])
def test_times_that_stand_still_or_step_back_do_not_fill_the_memory(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, step_sec: int
) -> None:
    monkeypatch.setattr(bag_import, "MAX_WAITING_BYTES", 100_000)
    monkeypatch.setattr(bag_import, "_BATCH", 8)
    monkeypatch.setattr(bag_import, "_MAX_UNSTORED", 16)
    monkeypatch.setattr(bag_import, "_GROUP", 8)
    items = [Item("/fl/label", START_NS, "cat")]
    for number in range(400):
        # As where every message was recorded at once, or where the clock was set back early on.
        time_ns = START_NS + (step_sec + number if step_sec and number > 10 else 0) * SEC
        stamp_ns = START_NS + number * SEC
        items.append(Item("/camera", time_ns, make_image(number), stamp_ns=stamp_ns))
    record(tmp_path / "bag", items)
    held_bytes = []
    store = SettlingQueue.store

    def look_and_store(self: SettlingQueue, *arguments: Any) -> None:
        held_bytes.append(sum(item.size_bytes or 0 for item in self._waiting))
        store(self, *arguments)

    monkeypatch.setattr(SettlingQueue, "store", look_and_store)
    importer = pipeline(dataset, review_pool_size=1, encoder_threads=1)
    importer.import_bag(tmp_path / "bag")
    importer.stop()
    assert dataset.disk_bytes() > 300_000
    # Some groups more at most.
    assert max(held_bytes) < 150_000
    assert importer.verdicts.total() == 400


@pytest.mark.parametrize("threads", [1, 2])
def test_live_frames_and_bags_share_the_encoder_threads(
    tmp_path: Path, dataset: Dataset, threads: int
) -> None:
    record(tmp_path / "bag", drive(200))
    processor = UnsteadyProcessor()
    both = pipeline(dataset, processor=processor, encoder_threads=threads, queue_size=1000)
    both.offer_label("cat", 0)

    def offer_too(read: int, expected: int) -> None:
        both.offer_frame(frame(1000 + read, topic="/live"))

    assert both.import_bag(tmp_path / "bag", progress=offer_too).complete
    both.stop()
    assert len(processor.threads) == threads
    assert threading.get_ident() not in processor.threads
    topics = Counter(sample.topic for sample in dataset.samples())
    assert topics.total() - topics["/live"] == 200
    assert topics["/live"]
