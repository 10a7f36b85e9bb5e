"""Which label a live frame gets, and how long it waits for it."""

from __future__ import annotations

import time

import pytest
from bag_recorder import START_NS
from pipeline_parts import MS, Clock, GatedDataset, frame, pipeline, wait_for

from fl_robot_ros.capture import pipeline as capture_pipeline
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.labels.label_track import MAX_HISTORY


def test_live_frames_are_labelled_by_the_time_of_their_publication(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    clock.now_ns = START_NS + 50 * MS
    for number in range(4):
        live.offer_frame(frame(number, START_NS + number * 10 * MS))
    # The labels come after the frames, but were published before some of them.
    live.offer_label("cat", START_NS + 5 * MS)
    live.offer_label("dog", START_NS + 25 * MS)
    assert live.verdicts.total() == 0
    clock.now_ns = START_NS + 10_000 * MS
    wait_for(lambda: live.verdicts.total() == 4)
    live.stop()
    assert live.verdicts == {"unlabelled": 1, "kept": 3}
    assert [(sample.label, sample.stamp_ns) for sample in dataset.samples()] == [
        ("cat", START_NS + 100 * MS),
        ("cat", START_NS + 200 * MS),
        ("dog", START_NS + 300 * MS),
    ]


def test_frames_wait_for_labels_only_as_long_as_asked() -> None:
    clock = Clock()
    store = GatedDataset()
    live = pipeline(store, clock)
    live.offer_label("cat", 0)
    live.offer_frame(frame(0))
    clock.now_ns = START_NS + 199 * MS
    time.sleep(0.15)
    assert store.samples == []
    clock.now_ns = START_NS + 200 * MS
    wait_for(lambda: len(store.samples) == 1)
    live.stop()


@pytest.mark.parametrize("published_ns", [START_NS + 10**15, 0])
def test_frames_with_a_clock_of_their_own_do_not_wait_for_ever(published_ns: int) -> None:
    clock = Clock()
    live = pipeline(GatedDataset(), clock)
    live.offer_frame(frame(0, published_ns))
    clock.now_ns += 300 * MS
    wait_for(lambda: live.verdicts.total() == 1)
    live.stop()


def test_clock_set_back_does_not_hold_frames(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    live.offer_frame(frame(0))
    clock.now_ns -= 10**15
    wait_for(lambda: live.verdicts.total() == 1)
    live.stop()


def test_frames_that_wait_for_a_label_do_not_fill_the_memory(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture_pipeline, "MAX_WAITING_BYTES", 20_000)
    live = pipeline(dataset, label_lookback_sec=600.0)
    for number in range(60):
        live.offer_frame(frame(number))
        wait_for(lambda: live.queue_length < 40)
    assert live.verdicts["unlabelled"] > 20
    live.offer_label("cat", START_NS)
    live.stop()
    assert live.verdicts["kept"] > 5
    assert live.verdicts.total() == 60
    (line,) = caplog.messages
    assert line.startswith("frames wait 0.0 instead of 600.2 s for their label")


def test_a_label_reaches_back_to_frames_before_it(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock, label_lookback_sec=1.0)
    clock.now_ns = START_NS + 500 * MS
    live.offer_frame(frame(0, START_NS))
    live.offer_frame(frame(1, START_NS + 500 * MS))
    clock.now_ns = START_NS + 1199 * MS  # the settling time is over, the lookback is not
    time.sleep(0.15)
    assert live.verdicts.total() == 0
    clock.now_ns = START_NS + 5000 * MS
    live.offer_label("pallet", START_NS + 1200 * MS)
    wait_for(lambda: live.verdicts.total() == 2)
    live.stop()
    assert live.verdicts == {"unlabelled": 1, "kept": 1}
    assert [sample.stamp_ns for sample in dataset.samples()] == [START_NS + 100 * MS]


def test_a_clock_set_back_brings_no_old_label_back(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    live.offer_label("pallet", START_NS)
    for number, seconds in enumerate((1, -59, -30, 30)):
        clock.now_ns = START_NS + seconds * 1000 * MS
        if seconds == -59:
            live.offer_label("person", clock.now_ns)
        live.offer_frame(frame(number, clock.now_ns))
    live.stop()
    labels = [sample.label for sample in dataset.samples()]
    assert labels == ["pallet", "person", "person", "person"]


def test_the_label_in_force_goes_on_where_the_clock_is_set_back(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    for number, (seconds, label) in enumerate([(0, "person"), (9, "pallet"), (-60, ""), (5, "")]):
        clock.now_ns = START_NS + seconds * 1000 * MS
        if label:
            live.offer_label(label, clock.now_ns)
        live.offer_frame(frame(number, clock.now_ns))
    live.stop()
    labels = [sample.label for sample in dataset.samples()]
    assert labels == ["person", "pallet", "pallet", "pallet"]


def test_the_label_in_force_goes_on_where_the_clock_is_set_back_by_little(
    dataset: Dataset,
) -> None:
    clock = Clock()
    live = pipeline(dataset, clock)
    # The camera is known by the old clock; what it published before the step comes after it.
    steps = [(0, 0, "person"), (8, 8, "pallet"), (3, 8.01, ""), (5, 5, ""), (9, 9, "")]
    for number, (seconds, published_sec, label) in enumerate(steps):
        clock.now_ns = START_NS + seconds * 1000 * MS
        if label:
            live.offer_label(label, clock.now_ns)
        live.offer_frame(frame(number, START_NS + round(published_sec * 1000) * MS))
    clock.now_ns = START_NS + 8500 * MS
    live.offer_label("wall", clock.now_ns)
    live.offer_frame(frame(5, clock.now_ns))
    live.stop()
    labels = [sample.label for sample in dataset.samples()]
    assert labels == ["person", "pallet", "pallet", "pallet", "pallet", "wall"]


@pytest.mark.parametrize("ahead_sec", [0, 3600])
def test_a_publisher_whose_clock_is_ahead_labels_from_now_on(
    dataset: Dataset, ahead_sec: int
) -> None:
    live = pipeline(dataset)
    live.offer_label("pallet", START_NS + ahead_sec * 1000 * MS)
    live.offer_frame(frame(0))
    live.stop()
    assert [sample.label for sample in dataset.samples()] == ["pallet"]


@pytest.mark.parametrize(
    ("off_sec", "said"),
    [
        (0, ""),
        (-9, ""),
        (-3600, "came 3600 s later than its publisher's clock says"),
        (3600, "came 3600 s before its publisher's clock says"),
    ],
)
def test_a_camera_with_another_clock_is_named_once(
    caplog: pytest.LogCaptureFixture, off_sec: int, said: str
) -> None:
    live = pipeline(GatedDataset())
    for number in range(3):
        for topic in ("/left", "/right"):
            live.offer_frame(frame(number, START_NS + off_sec * 1000 * MS, topic=topic))
    live.stop()
    expected = [f"topic {topic}: a frame {said}" for topic in ("/left", "/right") if said]
    assert [line.partition(";")[0] for line in caplog.messages] == expected


@pytest.mark.parametrize(("age_sec", "is_told"), [(9, False), (60, True)])
def test_a_label_that_is_over_when_it_comes_is_named_once(
    caplog: pytest.LogCaptureFixture, age_sec: int, is_told: bool
) -> None:
    live = pipeline(GatedDataset(), label_hold_sec=10.0)
    live.offer_frame(frame(0))
    for number in range(3):
        live.offer_label("pallet", START_NS - age_sec * 1000 * MS + number)
    live.stop()
    assert live.verdicts == ({"unlabelled": 1} if is_told else {"kept": 1})
    said = "label 'pallet' is 60 s older than what came before it and holds for 10 s"
    assert [line.partition(":")[0] for line in caplog.messages] == [said] * is_told


def test_a_label_that_is_repeated_stays_with_the_frames_that_wait(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock, label_lookback_sec=600.0, topic_labels=("camera: fixed",))
    live.offer_label("pallet", START_NS)
    live.offer_frame(frame(0))
    for number in range(MAX_HISTORY + 10):
        clock.now_ns = START_NS + number * 30 * MS
        live.offer_label("pallet", clock.now_ns)
    live.stop()
    assert [sample.label for sample in dataset.samples()] == ["pallet"]
