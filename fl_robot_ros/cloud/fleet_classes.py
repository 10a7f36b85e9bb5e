"""Which of the run's classes the robots have images of."""

from __future__ import annotations

from collections.abc import Sequence

from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.federation.protocol import CLASS_COUNTS, METRICS


class FleetClasses:
    """Learns from the robots' replies which classes nobody has images of.

    A robot leaves the outputs of classes alone that only others see. Of a class that nobody sees
    all robots must learn that it does not occur, or else the model will find it everywhere.
    """

    def __init__(self, num_classes: int) -> None:
        """Know nothing yet.

        Args:
            num_classes: Number of classes of the run.
        """
        self._num_classes = num_classes
        self._seen: set[int] = set()

    def add(self, replies: Sequence[Reply]) -> None:
        """Take the numbers of images in robots' replies.

        A robot that does not tell them may have images of all classes.

        Args:
            replies: Replies that count.
        """
        for reply in replies:
            record = reply.message and reply.message.content.metric_records.get(METRICS)
            counts = record.get(CLASS_COUNTS) if record else None
            if not isinstance(counts, list) or len(counts) != self._num_classes:
                counts = [1] * self._num_classes
            self._seen.update(number for number, count in enumerate(counts) if count > 0)

    @property
    def absent(self) -> tuple[int, ...]:
        """Numbers of the classes that no robot has; none before the first reply."""
        if not self._seen:
            return ()
        return tuple(sorted(set(range(self._num_classes)) - self._seen))
