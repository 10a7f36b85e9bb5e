"""Imports rosbags one after another, beside the live capture."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fl_robot_ros.bags.camera_choice import describe_other
from fl_robot_ros.capture.pipeline import CapturePipeline
from fl_robot_ros.config import expand_path
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.name_list import name_list

_logger = logging.getLogger(__name__)


class BagImporter:
    """A thread that imports bags in the order of the requests."""

    def __init__(
        self,
        pipeline: CapturePipeline,
        image_topics: Sequence[str],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            pipeline: Imports each bag.
            image_topics: Topics to read; where a bag has none of them, all its image topics.
            on_change: Called, from the thread, when a bag begins or ends.
        """
        self._pipeline = pipeline
        self._image_topics = list(image_topics)
        self._on_change = on_change
        self._waiting: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pending = 0
        self._progress = ""
        self._thread = threading.Thread(target=self._run, name="bags", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Number of bags that are not yet read to their end."""
        with self._lock:
            return self._pending

    @property
    def progress(self) -> str:
        """The bag that is being read, or the result of the last one, in one line."""
        with self._lock:
            return self._progress

    def add(self, paths: Sequence[str]) -> None:
        """Request the import of bags; returns at once."""
        for path in paths:
            with self._lock:
                self._pending += 1
            self._waiting.put(expand_path(path))

    def stop(self) -> None:
        """End the thread. The pipeline must be stopped first, which cuts an import short."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (path := self._waiting.get()) is not None:
            self._note(f"{path.name}: opening")
            try:
                report = self._pipeline.import_bag(
                    path, self._image_topics, partial(self._note_frames, path.name)
                )
            except FlRobotError as error:
                self._note(f"{path.name}: {error}")
                _logger.error("%s", error)
            except Exception as error:
                # A bag is foreign data: no error that it causes may end the thread.
                self._note(f"{path.name}: {error!r}")
                _logger.exception("bag %s cannot be read", path)
            else:
                text = (
                    f"{path.name}: {report.frames_read} frames and {report.labels_read} labels "
                    f"from {name_list(report.topics) or 'no topic'}"
                )
                if report.complete:
                    _logger.info("bag %s", text)
                else:
                    text = f"{text}; lost: {report.loss}"
                    _logger.warning("bag %s", text)
                for other, chosen in report.other_topics.items():
                    _logger.info("bag %s: %s", path.name, describe_other(other, chosen))
                if report.is_fallback:
                    _logger.warning(
                        "bag %s has none of image_topics (%s): all its image topics were read, "
                        "%s; masks and fixed labels hold only for the topics that they name",
                        path.name,
                        name_list(self._image_topics) or "none",
                        name_list(report.topics) or "none",
                    )
                self._note(text)
            with self._lock:
                self._pending -= 1
            self._on_change()

    def _note_frames(self, name: str, frames: int, _expected: int) -> None:
        self._note(f"{name}: {frames} frames")

    def _note(self, text: str) -> None:
        with self._lock:
            self._progress = text
        self._on_change()
