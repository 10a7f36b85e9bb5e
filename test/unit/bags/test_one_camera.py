"""A camera's raw and compressed topics are one camera, live and in bags."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from bag_reader import read
from bag_recorder import COMPRESSED, IMAGE, START_NS, Item, drive, images_of, make_image, record
from mcap_builder import McapBuilder
from pipeline_parts import Clock, pipeline

from fl_robot_ros.bags.bag import LabelMessage, open_bag
from fl_robot_ros.bags.bag_topic import Topic, TopicCounts
from fl_robot_ros.bags.camera_choice import other_topics
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.topic_name import sibling_topic

SEC = 1_000_000_000
RAW, JPEG, DEPTH = (f"/robot/camera/image{end}" for end in ("", "/compressed", "/compressedDepth"))
RAW_KEY, JPEG_KEY = Topic(RAW, IMAGE), Topic(JPEG, COMPRESSED)


def everything(first: str = RAW, frames: int = 40) -> list[Item]:
    """Return what a recorder of all topics writes: every moment raw and compressed."""
    items = []
    for item in drive(frames, topic=RAW):
        items.append(item)
        if not isinstance(item.content, str):
            stamp_ns = item.time_ns - 5_000_000
            delay_ns = 1_000_000 if first == RAW else -1_000_000
            copy = replace(item, topic=JPEG, compressed=True, stamp_ns=stamp_ns)
            items.append(replace(copy, time_ns=item.time_ns + delay_ns))
    return sorted(items, key=lambda item: item.time_ns)


@pytest.mark.parametrize(
    ("counts", "names", "chosen"),
    [
        ({RAW_KEY: 9, JPEG_KEY: 9}, [], RAW_KEY),
        ({RAW_KEY: 5, JPEG_KEY: 9}, [], RAW_KEY),
        ({RAW_KEY: 4, JPEG_KEY: 9}, [], JPEG_KEY),
        ({RAW_KEY: 0, JPEG_KEY: 9}, [], JPEG_KEY),
        ({RAW_KEY: 9, JPEG_KEY: 9}, ["camera/image/compressed", "camera/image"], JPEG_KEY),
        ({RAW_KEY: 9, JPEG_KEY: 4}, ["camera/image/compressed", "camera/image"], RAW_KEY),
        ({Topic(DEPTH, COMPRESSED): 9, RAW_KEY: 1}, [], RAW_KEY),
        ({Topic(DEPTH, COMPRESSED): 9}, [], Topic(DEPTH, COMPRESSED)),
        ({Topic(RAW, COMPRESSED): 9, RAW_KEY: 9}, [], RAW_KEY),
    ],
)
def test_one_topic_of_a_camera_is_read(
    counts: TopicCounts, names: list[str], chosen: Topic
) -> None:
    left = {key for key, count in counts.items() if count and key != chosen}
    assert other_topics({**counts, Topic("/rear", IMAGE): 1}, names) == dict.fromkeys(left, chosen)


def test_siblings() -> None:
    assert sibling_topic(RAW) == JPEG
    assert sibling_topic(JPEG) == RAW
    assert sibling_topic("/compressed") == "/compressed/compressed"


@pytest.mark.parametrize("first", [RAW, JPEG])
def test_a_bag_of_all_topics_gives_every_moment_once(
    tmp_path: Path, dataset: Dataset, first: str
) -> None:
    record(tmp_path / "bag", everything(first))
    importer = pipeline(dataset)
    report = importer.import_bag(tmp_path / "bag")
    assert (report.frames_read, report.frames_expected, report.loss) == (40, 40, "")
    assert report.other_topics == {JPEG_KEY: RAW_KEY}
    assert Counter(sample.topic for sample in dataset.samples()) == {RAW: 40}
    frames, _, _ = read(tmp_path / "bag", ["camera/image/compressed"])
    assert {frame.topic for frame in frames} == {JPEG}
    # Read again by the other topic, as another robot's settings may have it.
    importer.import_bag(tmp_path / "bag", ["camera/image/compressed"])
    assert importer.verdicts == {"kept": 40, "already_stored": 40}


@pytest.mark.parametrize("first", [RAW, JPEG])
def test_a_bag_that_does_not_say_what_it_has_gives_every_moment_once(
    tmp_path: Path, dataset: Dataset, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    mcap = McapBuilder()
    mcap.add_chunk(everything(first))
    (tmp_path / "drive.mcap").write_bytes(mcap.finish(""))
    importer = pipeline(dataset)
    importer.import_bag(tmp_path / "drive.mcap")
    assert importer.verdicts == {"kept": 40, "sampled_out": 40}
    assert Counter(sample.topic for sample in dataset.samples()) == {first: 40}
    other = JPEG if first == RAW else RAW
    assert caplog.messages == [
        f"topic {other} is left out: it is of the same camera as {first}, which is taken"
    ]


def test_a_live_camera_gives_every_moment_once(dataset: Dataset, tmp_path: Path) -> None:
    record(tmp_path / "bag", everything())
    clock = Clock()
    live = pipeline(dataset, clock, queue_size=1000)
    for topic in (RAW, JPEG):
        for item in open_bag(tmp_path / "bag", [topic]):
            clock.now_ns = item.published_ns
            if isinstance(item, LabelMessage):
                live.offer_label(item.label, item.published_ns)
            elif topic == RAW or item.stamp_ns > START_NS + 3 * SEC:
                live.offer_frame(item)
    live.stop()
    assert live.verdicts["kept"] == len(dataset) == 40
    importer = pipeline(dataset)
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"already_stored": 40}


def test_the_other_topic_is_taken_where_the_first_falls_silent() -> None:
    sampler = RateSampler(10.0)
    taken = []
    for number in range(400):
        stamp_ns = START_NS + number * SEC // 10
        for topic in (RAW, JPEG):
            if (topic == JPEG or not 100 <= number < 300) and sampler.accept(topic, stamp_ns):
                taken.append((number, topic))
    # For 10 s nobody knows.
    assert [number for number, _ in taken] == [*range(100), *range(200, 400)]
    assert [topic for _, topic in taken] == [RAW] * 100 + [JPEG] * 200


def test_a_label_reaches_a_moment_that_was_stored_by_the_other_topic(
    tmp_path: Path, dataset: Dataset
) -> None:
    record(tmp_path / "bag", images_of(everything()))
    importer = pipeline(dataset, review_pool_size=1)
    importer.import_bag(tmp_path / "bag", ["camera/image/compressed"])
    labels = tmp_path / "labels.csv"
    labels.write_text("start,end,label\n0,1.95,pallet\n1.95,9,person\n")
    importer.import_bag(tmp_path / "bag", label_file=labels)
    assert importer.verdicts == {"review": 40, "labelled": 40}
    assert dataset.counts() == {"pallet": 20, "person": 20}


def test_cameras_of_several_robots_are_not_one(tmp_path: Path, dataset: Dataset) -> None:
    items = []
    for number in range(10):
        time_ns = START_NS + number * SEC // 10
        items += [
            Item("/robot1/camera/image", time_ns, make_image(number), stamp_ns=time_ns),
            Item("/robot2/camera/image/compressed", time_ns, make_image(number), True, time_ns),
        ]
    record(tmp_path / "bag", items)
    importer = pipeline(dataset, review_pool_size=1)
    importer.import_bag(tmp_path / "bag")
    assert importer.verdicts == {"review": 20}
