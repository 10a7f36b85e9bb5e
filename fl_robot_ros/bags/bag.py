"""Reads frames and labels from rosbags, whole or damaged."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.bags.bag_files import BagFiles, Unpacker, find_bag_files, is_bag
from fl_robot_ros.bags.bag_message import (
    IMAGE_TYPES,
    LabelMessage,
    MessageReader,
    is_image,
    is_label,
    is_label_name,
    left_out,
)
from fl_robot_ros.bags.camera_choice import Topic, other_topics
from fl_robot_ros.bags.recorded_message import TopicCounts, Wanted, is_time
from fl_robot_ros.errors import BagError
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame
from fl_robot_ros.name_list import name_list
from fl_robot_ros.topic_name import camera_of, topic_matches

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag_storage import StorageFile

__all__ = ["BagReader", "BagReport", "LabelMessage", "is_bag", "open_bag"]


@dataclass
class BagReport:
    """What was read from a bag; grows while it is being read.

    Attributes:
        frames_read: Number of frames.
        labels_read: Number of labels.
        frames_expected: Number of frames that the bag says it has; 0 where it does not say.
        topics: Image topics that frames came from, in order of appearance.
        image_topics: Image topics that the bag has, as far as it says, sorted.
        other_topics: Topics and types that are left out, each with that of the same camera that is
            read.
        label_topics: Topics that labels may come from, as far as the bag says, sorted.
        start_ns: When the recording began, in ns; None where the bag does not say.
        is_fallback: None of the wanted image topics was there, so all image topics were read.
        label_file: Labels by time: the file that was given, else that of the bag; None: none.
        is_label_file_used: Whether the label file says anything of a frame that the sampler took.
        complete: The bag was read to its end and nothing was lost.
        loss: What was lost, in words; "" for nothing.
    """

    frames_read: int = 0
    labels_read: int = 0
    frames_expected: int = 0
    topics: tuple[str, ...] = ()
    image_topics: tuple[str, ...] = ()
    other_topics: dict[Topic, Topic] = field(default_factory=dict)
    label_topics: tuple[str, ...] = ()
    start_ns: int | None = None
    is_fallback: bool = False
    label_file: Path | None = None
    is_label_file_used: bool = False
    complete: bool = False
    loss: str = ""

    def add_loss(self, loss: str) -> None:
        """Note a loss beside those noted before."""
        self.loss = f"{self.loss}; {loss}" if self.loss else loss


def open_bag(
    path: Path,
    image_topics: Collection[str] | None = None,
    *,
    allows_fallback: bool = True,
    label_file: Path | None = None,
) -> BagReader:
    """Open a bag, for a `with` statement.

    Topic names match without their leading "/" and with any namespace before them: "camera/image"
    takes "/robot1/camera/image". Of the raw and the compressed topic of a camera, one is read, as
    `other_topics` says. Messages come file by file, and in each by the time of recording, as
    `ros2 bag play` has them; in damaged files, in the order in which they lie there. A bag of any
    size takes at most 64 MiB of messages, and a few chunks of the file, in memory. Files that are
    compressed as a whole are unpacked into the folder for temporary files, one at a time.

    Args:
        path: A rosbag2 folder or storage file (mcap, sqlite3), or a ROS 1 .bag file.
        image_topics: Topics of Image or CompressedImage; None, or none of them in the bag: all.
        allows_fallback: Whether all image topics are read where none of those is in the bag; else
            that is an error.
        label_file: Labels by time; None: the file that lies in the bag's folder or beside it, as
            `BagFiles.label_file` finds it.

    Raises:
        BagError: There is no bag at the path.
        LabelError: The bag has more than one label file.
    """
    files = find_bag_files(path)
    report = BagReport(label_file=label_file or files.label_file())
    return BagReader(files, report, image_topics, allows_fallback)


class BagReader(Iterator["Frame | LabelMessage"]):
    """Yields the frames and labels of one bag; `open_bag` makes it.

    Iterating raises BagError, at the end, where the bag has no image topic, promises images and
    yields none, or nothing of it is readable.

    Attributes:
        report: What has been read so far, and at the end what was lost.
    """

    def __init__(
        self,
        bag: BagFiles,
        report: BagReport,
        image_topics: Collection[str] | None,
        allows_fallback: bool,
    ) -> None:
        self.report = report
        self._bag = bag
        self._path = bag.path
        self._image_topics = image_topics
        self._allows_fallback = allows_fallback
        self._broken_messages = 0
        # Topics and types of the messages so far, and whether they are wanted.
        self._seen: dict[tuple[str, str], bool] = {}
        self._items = self._read()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Frame | LabelMessage:
        return next(self._items)

    def close(self) -> None:
        """Stop reading and close the bag's files."""
        self._items.close()

    def _read(self) -> Generator[Frame | LabelMessage, None, None]:
        try:
            with closing(Unpacker()) as unpacker:
                files = list(self._bag.open_files(unpacker))
                wanted = self._choose_topics(files)
                self.report.start_ns = self._start_ns(files)
                for storage in files:
                    yield from self._read_file(storage, wanted)
                self._conclude(files)
        except OSError as error:
            raise BagError(f"bag {self._path} cannot be read: {error}") from error

    def _read_file(
        self, file: StorageFile, wanted: Wanted
    ) -> Generator[Frame | LabelMessage, None, None]:
        reader = MessageReader()
        for message in file.messages(wanted):
            try:
                item = reader.read(message)
            except BagError as error:
                if not self._broken_messages:
                    self.report.add_loss(str(error))
                self._broken_messages += 1
                continue
            if isinstance(item, (RawFrame, CompressedFrame)):
                self.report.frames_read += 1
                if item.topic not in self.report.topics:
                    self.report.topics += (item.topic,)
            else:
                self.report.labels_read += 1
            yield item

    def _choose_topics(self, files: list[StorageFile]) -> Wanted:
        """Return which topics to read, and count the frames that the bag says it has."""

        def is_named_image(topic: str, message_type: str) -> bool:
            return is_image(topic, message_type) and topic_matches(topic, self._image_topics or ())

        is_wanted_image = is_image
        if self._image_topics is not None:
            self.report.is_fallback = not any(file.has(is_named_image) for file in files)
            is_wanted_image = is_image if self.report.is_fallback else is_named_image
            if self.report.is_fallback and not self._allows_fallback:
                raise self._lacks_topics(files)
        known = self._known(files)
        others = other_topics(
            {topic: count for topic, count in known.items() if is_wanted_image(*topic)},
            list(self._image_topics or ()),
        )
        self.report.other_topics = others
        self.report.frames_expected = max(
            sum(
                count
                for topic, count in counts.items()
                if is_wanted_image(*topic) and topic not in others
            )
            for counts in (self._bag.metadata.promised, _total(files))
        )

        def wanted(topic: str, message_type: str) -> bool:
            key = topic, message_type
            if key not in self._seen:
                is_wanted = is_wanted_image(*key) and key not in others
                self._seen[key] = is_label(*key) or is_wanted
            return self._seen[key]

        self.report.image_topics = tuple(sorted({topic[0] for topic in known if is_image(*topic)}))
        self.report.label_topics = tuple(sorted({topic[0] for topic in known if is_label(*topic)}))
        return wanted

    def _known(self, files: list[StorageFile]) -> TopicCounts:
        """Return the number of messages by topic and type, as far as metadata or files say."""
        promised, total = self._bag.metadata.promised, _total(files)
        topics = {**promised, **total}
        return {topic: max(promised.get(topic, 0), total.get(topic, 0)) for topic in topics}

    def _lacks_topics(self, files: list[StorageFile]) -> BagError:
        known = self._known(files)
        images = sorted(topic for topic, message_type in known if is_image(topic, message_type))
        others = [line for topic, line in left_out(known).items() if not is_label_name(topic)]
        return BagError(
            f"bag {self._path} has no topic {' or '.join(self._image_topics or ())}; its image "
            f"topics are {'; '.join([name_list(images) or 'none', *others])}"
        )

    def _left_out(self, topics: Iterable[tuple[str, str]]) -> list[str]:
        """Return a line for each topic of labels, or of wanted images, that cannot be read.

        A camera that was read on another topic is not lost.
        """
        names = None if self.report.is_fallback else self._image_topics
        cameras = {camera_of(topic) for topic in self.report.topics}
        return [
            line
            for topic, line in left_out(topics).items()
            if is_label_name(topic)
            or (camera_of(topic) not in cameras and (not names or topic_matches(topic, names)))
        ]

    def _start_ns(self, files: list[StorageFile]) -> int | None:
        """Return when the recording began, in ns; None where neither metadata nor files say."""
        if self._bag.metadata.start_ns is not None:
            return self._bag.metadata.start_ns
        starts = [file.start_ns for file in files if file.start_ns is not None]
        return min((start for start in starts if is_time(start)), default=None)

    def _conclude(self, files: list[StorageFile]) -> None:
        """Say what was lost.

        Raises:
            BagError: No frame was read, and not because there was none to read.
        """
        report = self.report
        for loss in self._bag.losses:
            report.add_loss(loss)
        for file in files:
            if file.salvage.damage:
                report.add_loss(f"{file.name}: {file.salvage.damage}")
        if self._broken_messages > 1:
            report.add_loss(f"{self._broken_messages} messages are broken")
        known = self._known(files)
        topics = {topic for topic in known if known[topic]} | self._seen.keys()
        for loss in self._left_out(topics):
            report.add_loss(loss)
        if report.frames_read < report.frames_expected:
            report.add_loss(
                f"{report.frames_read} of the {report.frames_expected} images that it promises "
                f"were readable"
            )
        if not report.frames_read and report.loss:
            raise BagError(f"bag {self._path} yields no image: {report.loss}")
        known_topics = known.keys() | self._seen.keys()
        if not any(is_image(*topic) for topic in known_topics) and not report.topics:
            names = name_list(f"{topic} ({kind})" for topic, kind in sorted(known_topics))
            raise BagError(
                f"bag {self._path} has no topic of {' or '.join(IMAGE_TYPES)}; it has "
                f"{names or 'nothing'}"
            )
        report.complete = not report.loss


def _total(files: list[StorageFile]) -> TopicCounts:
    total: TopicCounts = {}
    for file in files:
        for topic, count in (file.topics or {}).items():
            total[topic] = total.get(topic, 0) + count
    return total
