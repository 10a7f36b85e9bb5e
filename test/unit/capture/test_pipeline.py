"""The way from frames and labels to stored samples."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from bag_recorder import START_NS, make_image
from pipeline_parts import Clock, GatedDataset, GatedProcessor, frame, pipeline, wait_for

from fl_robot_ros.capture.verdicts import Verdict, VerdictCounter
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.images.frame import CompressedFrame


def test_stored_images_are_those_of_the_camera(dataset: Dataset) -> None:
    live = pipeline(dataset)
    live.offer_label("cat", 0)
    live.offer_frame(frame(7))
    live.stop()
    (sample,) = dataset.samples()
    stored = cv2.imread(str(dataset.path / sample.path))
    assert stored is not None
    difference = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB).astype(int) - make_image(7)
    assert np.abs(difference).mean() < 3


def test_queue_overflow_is_counted_and_nothing_blocks() -> None:
    processor = GatedProcessor()
    live = pipeline(GatedDataset(), processor=processor, queue_size=8)
    live.offer_label("cat", 0)
    for number in range(100):
        live.offer_frame(frame(number))
    assert live.queue_length == 8
    assert live.verdicts == {"queue_full": 92}
    processor.gate.set()
    live.stop()
    assert live.verdicts == {"queue_full": 92, "kept": 8}
    assert live.queue_length == 0


def test_slow_disk_fills_the_queue_but_stops_nobody() -> None:
    # Often: a frame that has just been processed counts once, whatever thread looks when.
    for _ in range(30):
        store = GatedDataset()
        live = pipeline(store, queue_size=4, label_settle_sec=0.0)
        live.offer_label("cat", 0)
        store.gate.clear()
        for number in range(10):
            live.offer_frame(frame(number))
        assert live.verdicts == {"queue_full": 6}
        store.gate.set()
        live.stop()
        assert live.verdicts == {"queue_full": 6, "kept": 4}


def test_sampling_is_by_capture_time() -> None:
    live = pipeline(GatedDataset(), sample_rate_hz=5.0)
    for number in range(10):
        live.offer_frame(frame(number))
    assert live.verdicts == {"sampled_out": 5}
    assert live.queue_length == 5


def test_pause_and_resume() -> None:
    live = pipeline(GatedDataset())
    live.is_enabled = False
    live.offer_frame(frame(0))
    live.is_enabled = True
    live.offer_frame(frame(1))
    assert live.verdicts == {"paused": 1}
    assert live.queue_length == 1


def test_bad_frames_and_labels_are_counted_and_the_rest_goes_on(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    live = pipeline(dataset)
    live.offer_label("cat", 0)
    live.offer_label("x" * 10_000, 1)
    for number in range(3):
        live.offer_frame(frame(number, encoding="depth"))
    live.offer_frame(frame(3, data=b""))
    live.offer_frame(frame(4, height=-3))
    live.offer_frame(CompressedFrame("/c", START_NS, START_NS, "jpeg", b"\xff\xd8\xff"))
    live.offer_frame(frame(5))
    live.stop()
    assert live.verdicts == {"bad_label": 1, "bad_encoding": 6, "kept": 1}
    assert dataset.counts() == {"cat": 1}
    # Once per topic, not once per frame.
    assert sum("bad_encoding" in message for message in caplog.messages) == 2


@pytest.mark.parametrize("error", [DatasetError("disk is full"), OSError(28, "disk is full")])
def test_full_disk_is_counted_and_capture_goes_on_when_there_is_room(error: Exception) -> None:
    store = GatedDataset()
    live = pipeline(store, label_settle_sec=0.0)
    live.offer_label("cat", 0)
    store.error = error
    live.offer_frame(frame(0))
    wait_for(lambda: live.verdicts["disk_error"] == 1)
    assert "disk is full" in live.last_error
    store.error = None
    live.offer_frame(frame(1))
    wait_for(lambda: live.verdicts["kept"] == 1)
    live.stop()


def test_every_frame_gets_one_verdict_from_many_threads(dataset: Dataset) -> None:
    live = pipeline(dataset, time.time_ns, queue_size=16, label_settle_sec=0.0)

    def publish(topic: str) -> None:
        for number in range(100):
            live.offer_label("cat" if number % 3 else "", time.time_ns())
            live.offer_frame(frame(number, time.time_ns(), topic=topic))

    threads = [threading.Thread(target=publish, args=(f"/camera{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live.stop()
    assert live.verdicts.total() == 400
    assert set(live.verdicts) <= set(Verdict)
    assert live.verdicts["kept"] == len(dataset)


def test_the_counts_of_all_sessions_are_remembered(dataset: Dataset) -> None:
    for session in range(2):
        live = pipeline(dataset, sample_rate_hz=5.0)
        live.offer_label("cat", 0)
        for number in range(10):
            live.offer_frame(frame(100 * session + number))
        live.stop()
    assert dataset.verdicts() == {"kept": 10, "sampled_out": 10}


def test_stop_may_be_repeated(dataset: Dataset) -> None:
    live = pipeline(dataset)
    live.offer_label("cat", 0)
    live.offer_frame(frame(0))
    live.stop()
    live.stop()
    assert live.verdicts == {"kept": 1}


def test_a_disk_without_room_pauses_capture_until_there_is_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = GatedDataset()
    store.free = 500_000
    live = pipeline(store, label_settle_sec=0.0, disk_reserve_mb=1)
    live.offer_label("cat", 0)
    for number in range(5):
        live.offer_frame(frame(number))
    wait_for(lambda: live.verdicts == {"disk_full": 5})
    assert live.is_disk_full
    store.free = 2_000_000
    wait_for(lambda: not live.is_disk_full)
    live.offer_frame(frame(5))
    live.stop()
    assert live.verdicts == {"disk_full": 5, "kept": 1}
    assert [line.split(":")[0] for line in caplog.messages] == [
        "capture pauses",
        "capture goes on",
    ]


def test_frames_without_a_label_go_to_the_review_pool(dataset: Dataset) -> None:
    clock = Clock()
    live = pipeline(dataset, clock, review_pool_size=1)
    clock.now_ns = START_NS + 2
    live.offer_frame(frame(0, START_NS))
    live.offer_label("cat", START_NS + 1)
    live.offer_frame(frame(1, START_NS + 2))
    live.stop()
    assert live.verdicts == {"review": 1, "kept": 1}
    assert dataset.counts() == {"cat": 1}
    assert [sample.stamp_ns for sample in dataset.unlabelled()] == [START_NS]


def test_a_mask_is_neither_sharp_nor_dark(dataset: Dataset) -> None:
    masks = ("camera: 0,0 0.5,0 0.5,1 0,1",)
    grey = np.full((24, 32, 3), 128, np.uint8).tobytes()
    for rules, verdict in (
        ({"min_sharpness": 10.0}, "blurred"),
        ({"min_brightness": 100.0}, "kept"),
    ):
        live = pipeline(dataset, privacy_masks=masks, **rules)
        live.offer_label("cat", 0)
        live.offer_frame(frame(0, data=grey))
        live.stop()
        assert live.verdicts == {verdict: 1}


def test_masked_parts_never_reach_the_disk(dataset: Dataset) -> None:
    live = pipeline(dataset, privacy_masks=("camera: 0,0 0.5,0 0.5,1 0,1",))
    live.offer_label("cat", 0)
    white = np.full((24, 32, 3), 255, np.uint8)
    live.offer_frame(frame(0, data=white.tobytes()))
    jpeg = cv2.imencode(".jpg", white)[1].tobytes()
    live.offer_frame(CompressedFrame("/robot/camera", START_NS + 1, START_NS, "jpeg", jpeg))
    live.offer_frame(frame(2, topic="/rear", data=white.tobytes()))
    live.stop()
    for sample in dataset.samples():
        stored = cv2.imread(str(dataset.path / sample.path))
        assert stored is not None
        assert stored[:, 20:].min() > 240
        assert (stored[:, :15].max() < 20) == (sample.topic != "/rear")


def test_frames_that_are_not_worth_keeping_are_counted(dataset: Dataset) -> None:
    live = pipeline(
        dataset,
        min_brightness=30.0,
        max_brightness=220.0,
        min_sharpness=50.0,
        min_difference_bits=4,
    )
    live.offer_label("cat", 0)
    generator = np.random.default_rng(3)
    noise = generator.integers(0, 255, (24, 32, 3), np.uint8)
    other = generator.integers(0, 255, (24, 32, 3), np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 6)
    nearly = np.clip(noise.astype(int) + generator.integers(-4, 5, noise.shape), 0, 255)
    images = [noise, noise // 16, 240 + noise // 32, blurred, nearly.astype(np.uint8), other]
    for number, content in enumerate(images):
        live.offer_frame(frame(number, data=content.tobytes()))
    live.stop()
    assert live.verdicts == {"kept": 2, "dark": 1, "bright": 1, "blurred": 1, "duplicate": 1}


def test_what_was_not_stored_makes_no_duplicates() -> None:
    store = GatedDataset()
    live = pipeline(store, min_difference_bits=4, label_settle_sec=0.0)
    same = make_image(0).tobytes()
    live.offer_label("cat", START_NS)
    store.error = DatasetError("the disk is gone")
    live.offer_frame(frame(0, data=same))
    wait_for(lambda: live.verdicts == {"disk_error": 1})
    store.error = None
    store.free = -1
    live.offer_frame(frame(1, data=same))
    wait_for(lambda: live.verdicts.total() == 2)
    store.free = 10**12
    wait_for(lambda: not live.is_disk_full)
    live.offer_frame(frame(2, data=same))
    live.offer_frame(frame(3, data=same))
    live.stop()
    assert live.verdicts == {"disk_error": 1, "disk_full": 1, "kept": 1, "duplicate": 1}


def test_who_offers_a_frame_does_not_wait_for_the_disk() -> None:
    class HungDisk(GatedDataset):
        """A disk that answers only when the gate opens, as a network share may."""

        def free_bytes(self) -> int:
            assert self.gate.wait(10)
            return super().free_bytes()

        def add_verdicts(self, counts: Mapping[str, int]) -> None:
            assert self.gate.wait(10)

    store = HungDisk()
    store.gate.clear()
    live = pipeline(store)
    live.offer_label("cat", 0)
    offering = threading.Thread(target=live.offer_frame, args=(frame(0),))
    offering.start()
    # Half of the time after which the disk gives up.
    offering.join(5)
    is_waiting, is_full = offering.is_alive(), live.is_disk_full
    store.gate.set()
    live.stop()
    assert not is_waiting
    assert not is_full
    assert live.verdicts == {"kept": 1}


def test_every_verdict_has_its_own_share_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    counter = VerdictCounter()
    for number in range(200):
        counter.add_error(Verdict.BAD_LABEL, f"label {number}", f"label {number}")
    counter.add_error(Verdict.DISK_ERROR, "the disk is gone", "")
    assert len(caplog.records) == 101
    assert caplog.messages[-1] == "disk_error: the disk is gone"


def test_after_the_end_frames_are_counted_as_paused(dataset: Dataset) -> None:
    others = set(threading.enumerate())
    live = pipeline(dataset)
    live.offer_frame(frame(0))
    live.stop()
    assert set(threading.enumerate()) <= others
    live.offer_frame(frame(1))
    assert live.verdicts == {"unlabelled": 1, "paused": 1}
    assert live.queue_length == 0
