"""What tests of the capture pipeline have in common."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bag_recorder import START_NS, make_image

from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.capture.pipeline import CapturePipeline
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.images.frame import RawFrame

MS = 1_000_000


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


class GatedDataset:
    """A dataset whose disk is as slow or full as the test says."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.samples: list[NewSample] = []
        self.free = 10**12

    def add(self, batch: Sequence[NewSample]) -> list[Verdict]:
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.samples += batch
        return [Verdict.KEPT] * len(batch)

    def free_bytes(self) -> int:
        return self.free

    def add_verdicts(self, counts: Mapping[str, int]) -> None:
        pass


class GatedProcessor(FrameProcessor):
    """A processor that works only while the test lets it."""

    def __init__(self) -> None:
        super().__init__(ClientSettings())
        self.gate = threading.Event()

    def process(self, frame: Any) -> Any:
        assert self.gate.wait(10)
        return super().process(frame)


def frame(number: int, published_ns: int | None = None, **changes: Any) -> RawFrame:
    values: dict[str, Any] = {
        "topic": "/camera",
        "stamp_ns": START_NS + number * 100 * MS,
        "published_ns": START_NS if published_ns is None else published_ns,
        "encoding": "rgb8",
        "height": 24,
        "width": 32,
        "step": 96,
        "is_bigendian": False,
        "data": make_image(number).tobytes(),
    }
    return RawFrame(**{**values, **changes})


def pipeline(
    dataset: Any,
    clock: Callable[[], int] | None = None,
    processor: FrameProcessor | None = None,
    **changes: Any,
) -> CapturePipeline:
    """Return a pipeline that stores labelled frames, with other settings as given."""
    values: dict[str, Any] = {
        "sample_rate_hz": 1000.0,
        "queue_size": 64,
        "label_settle_sec": 0.2,
        "review_pool_size": 0,
        "disk_reserve_mb": 0,
    }
    settings = ClientSettings(**{**values, **changes})
    return CapturePipeline(dataset, settings, processor=processor, clock=clock or Clock())


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)
