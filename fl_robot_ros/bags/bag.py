"""Reads frames and labels from rosbags, whole or damaged."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.bags.bag_files import BagFiles, find_bag_files, is_bag
from fl_robot_ros.bags.bag_message import LabelMessage, read_message
from fl_robot_ros.bags.bag_topic import IMAGE_TYPES, Topic, Wanted, unreadable_topics
from fl_robot_ros.bags.camera_choice import other_topics
from fl_robot_ros.dependency import BAG_MODULES, require
from fl_robot_ros.errors import BagError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.topic_name import LABEL_TOPIC, camera_of, topic_matches

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag_storage import BagStorage
    from fl_robot_ros.bags.storage import RecordedMessage
    from fl_robot_ros.images.frame import Frame

__all__ = ["BagReader", "BagReport", "LabelMessage", "is_bag", "open_bag"]


@dataclass
class BagReport:
    """What was read from a bag; grows while it is being read.

    Attributes:
        frames_read: Number of frames.
        labels_read: Number of labels.
        frames_expected: Number of frames that the bag says it has; 0 where it does not say.
        topics: Image topics that frames came from, in order of appearance.
        image_topics: Image topics of the bag, as far as it lists them, sorted.
        other_topics: Skipped topics, each with the topic of the same camera that is read instead.
        label_topics: Label topics of the bag, as far as it lists them, sorted.
        start_ns: When the recording began, in ns; None where the bag does not say.
        is_fallback: All image topics were read, because the bag has none of the requested ones.
        label_file: Label file in use: the one given, else the one of the bag; None: none.
        is_label_file_used: Whether the label file covers a frame that the sampler took.
        complete: The bag was read to its end without a loss.
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
        """Append a loss to the others."""
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
    takes "/robot1/camera/image". Of the raw and the compressed topic of a camera, one is read; see
    `other_topics`. Messages come file by file, each file in the order of recording, like
    `ros2 bag play`; a damaged file in the order of its records. At most 64 MiB of messages and a
    few chunks are held in memory, whatever the size of the bag. Files that are compressed as a
    whole are unpacked into the temporary folder, one at a time.

    Args:
        path: A rosbag2 folder or storage file (mcap, sqlite3), or a ROS 1 .bag file.
        image_topics: Topics of Image or CompressedImage; None, or where the bag has none of them:
            all image topics.
        allows_fallback: Whether all image topics are read if the bag has none of those requested;
            else that is a BagError.
        label_file: Labels by time; None: the label file of the bag, see `BagFiles.label_file`.

    Raises:
        BagError: The path is no bag.
        LabelError: The bag has more than one label file.
    """
    files = find_bag_files(path)
    report = BagReport(label_file=label_file or files.label_file())
    return BagReader(files, report, image_topics, allows_fallback)


def open_storage(bag: BagFiles) -> BagStorage:
    """Open the storage files of a bag and read their summaries.

    Raises:
        MissingPackageError: A package that reads bags is not installed.
        OSError: A file cannot be read.
    """
    require(BAG_MODULES)
    # Imported late: a robot that never reads bags need not install these packages.
    from fl_robot_ros.bags.bag_storage import BagStorage

    return BagStorage(bag)


class BagReader(Iterator["Frame | LabelMessage"]):
    """Yields the frames and labels of one bag; `open_bag` makes it.

    Iterating ends with a BagError if the bag has no image topic, promises images but yields none,
    or cannot be read at all.

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
        self._image_topics = image_topics
        self._allows_fallback = allows_fallback
        self._broken_messages = 0
        # Whether a topic is wanted, for the topics of the messages so far.
        self._seen: dict[Topic, bool] = {}
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
            with closing(open_storage(self._bag)) as storage:
                wanted = self._choose_topics(storage)
                self.report.start_ns = storage.start_ns
                for message in storage.messages(wanted):
                    item = self._item(message)
                    if item is not None:
                        yield item
                self._conclude(storage)
        except OSError as error:
            raise BagError(f"bag {self._bag.path} cannot be read: {error}") from error

    def _item(self, message: RecordedMessage) -> Frame | LabelMessage | None:
        """Count a message and return its frame or label; None: the message is broken."""
        try:
            item = read_message(message)
        except BagError as error:
            if not self._broken_messages:
                self.report.add_loss(str(error))
            self._broken_messages += 1
            return None
        if isinstance(item, LabelMessage):
            self.report.labels_read += 1
            return item
        self.report.frames_read += 1
        if item.topic not in self.report.topics:
            self.report.topics += (item.topic,)
        return item

    def _choose_topics(self, storage: BagStorage) -> Wanted:
        """Return which topics to read; fill in what the report says of topics and frames."""
        report = self.report

        def is_named_image(topic: Topic) -> bool:
            return topic.has_images and topic_matches(topic.name, self._image_topics or ())

        if self._image_topics is not None:
            report.is_fallback = not storage.has(is_named_image)
            if report.is_fallback and not self._allows_fallback:
                raise self._lacks_topics(storage)
        takes_all = self._image_topics is None or report.is_fallback

        def is_wanted_image(topic: Topic) -> bool:
            return topic.has_images if takes_all else is_named_image(topic)

        known = storage.known_topics
        others = other_topics(
            {topic: count for topic, count in known.items() if is_wanted_image(topic)},
            list(self._image_topics or ()),
        )
        report.other_topics = others
        report.frames_expected = max(
            sum(
                count
                for topic, count in counts.items()
                if is_wanted_image(topic) and topic not in others
            )
            for counts in (self._bag.metadata.promised, storage.topics)
        )
        report.image_topics = tuple(sorted({topic.name for topic in known if topic.has_images}))
        report.label_topics = tuple(sorted({topic.name for topic in known if topic.has_labels}))

        def wanted(topic: Topic) -> bool:
            if topic not in self._seen:
                is_image = is_wanted_image(topic) and topic not in others
                self._seen[topic] = topic.has_labels or is_image
            return self._seen[topic]

        return wanted

    def _lacks_topics(self, storage: BagStorage) -> BagError:
        known = storage.known_topics
        images = sorted(topic.name for topic in known if topic.has_images)
        labels = {topic.name for topic in known if topic.has_label_name}
        others = [line for name, line in unreadable_topics(known).items() if name not in labels]
        return BagError(
            f"bag {self._bag.path} has no topic {' or '.join(self._image_topics or ())}; "
            f"its image topics are {'; '.join([name_list(images) or 'none', *others])}"
        )

    def _unreadable(self, topics: Iterable[Topic]) -> list[str]:
        """Return a line for each unreadable topic of labels or of wanted images.

        Cameras that were read by another topic are left out.
        """
        names = None if self.report.is_fallback else self._image_topics
        cameras = {camera_of(topic) for topic in self.report.topics}
        return [
            line
            for topic, line in unreadable_topics(topics).items()
            if topic_matches(topic, (LABEL_TOPIC,))
            or (camera_of(topic) not in cameras and (not names or topic_matches(topic, names)))
        ]

    def _conclude(self, storage: BagStorage) -> None:
        """Fill in the losses.

        Raises:
            BagError: No frame was read although there should be some, or there is no image topic.
        """
        report = self.report
        for loss in storage.losses():
            report.add_loss(loss)
        if self._broken_messages > 1:
            report.add_loss(f"{self._broken_messages} messages are broken")
        known = storage.known_topics
        for loss in self._unreadable({topic for topic in known if known[topic]} | {*self._seen}):
            report.add_loss(loss)
        if report.frames_read < report.frames_expected:
            report.add_loss(
                f"{report.frames_read} of the {report.frames_expected} images that it promises "
                f"were readable"
            )
        if not report.frames_read and report.loss:
            raise BagError(f"bag {self._bag.path} yields no image: {report.loss}")
        topics = known.keys() | self._seen.keys()
        if not report.topics and not any(topic.has_images for topic in topics):
            names = name_list(f"{topic.name} ({topic.type_text})" for topic in sorted(topics))
            raise BagError(
                f"bag {self._bag.path} has no topic of {' or '.join(IMAGE_TYPES)}; it has "
                f"{names or 'nothing'}"
            )
        report.complete = not report.loss
