"""The images that `fl_predict` predicts, each with its true label: files, a dataset, a rosbag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.bags.bag import is_bag
from fl_robot_ros.capture.labelled_bag import LabelledBag
from fl_robot_ros.cli.fair_sample import fair_sample, spread
from fl_robot_ros.cli.terminal import number
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import load_snapshot
from fl_robot_ros.errors import FrameError, SourceError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.image_files import read_image
from fl_robot_ros.labels.folder_layout import INDEX_NAME
from fl_robot_ros.labels.image_folder import read_image_folder


@dataclass(frozen=True)
class Example:
    """One image to predict.

    Attributes:
        name: File name, or number in the bag.
        image: uint8 (H, W, 3), RGB; None where it could not be read.
        label: Its true label, "" where it is unknown.
    """

    name: str
    image: NDArray[np.uint8] | None
    label: str


class ExampleSource(Protocol):
    """Images to predict; `notes` is complete once all were read."""

    @property
    def total(self) -> int | None:
        """Expected number of images, None if it is unknown."""

    @property
    def notes(self) -> list[str]:
        """What people should know of the images and their labels, one line each."""

    def examples(self) -> Generator[Example, None, None]:
        """Yield the images.

        Raises:
            FlRobotError: The source cannot be read.
        """


class _File(NamedTuple):
    path: Path
    name: str
    label: str


class _FileExamples:
    """Image files."""

    def __init__(self, files: Sequence[_File], notes: list[str], limit: int | None) -> None:
        self.notes = notes
        self._files = files
        if limit is not None and limit < len(files):
            chosen = fair_sample([file.label for file in files], limit)
            self._files = [files[place] for place in chosen]
            notes.append(f"a sample: {limit:,} of {len(files):,} images, each label's share of it")
        self.total = len(self._files)

    def examples(self) -> Generator[Example, None, None]:
        """Yield the images in their order."""
        for path, name, label in self._files:
            yield Example(name, read_image(path), label)


class _BagExamples:
    """The frames of a bag, each with the label that an import would give it."""

    def __init__(
        self,
        path: Path,
        topics: Collection[str] | None,
        label_file: Path | None,
        limit: int | None,
    ) -> None:
        self._bag = LabelledBag(path, topics, label_file)
        self._counts: Counter[str] = Counter()
        self._left_out = 0
        expected = self._bag.report.frames_expected
        if limit is not None and not expected:
            with LabelledBag(path, topics, label_file) as bag:  # Reading is far from predicting.
                expected = sum(1 for _ in bag.frames())
        self._chosen = None if limit is None else set(spread(expected, limit))
        self.total = len(self._chosen) if self._chosen is not None else expected or None

    @property
    def notes(self) -> list[str]:
        """Lines about the topics, the origin of the labels, and what was lost."""
        report = self._bag.report
        label_file = report.label_file
        read = ", ".join(f"{topic} ({count:,})" for topic, count in self._counts.items())
        lines = [f"image topics and their images: {read}"]
        left_out = [topic for topic in report.image_topics if topic not in self._counts]
        if left_out:
            lines[0] += f"; not read: {', '.join(left_out)}"
        if len(self._counts) > 1:
            lines[0] += "; see --topics"
        if self._left_out:
            count = self._counts.total()
            lines.append(
                f"a sample: {count - self._left_out:,} of {count:,} images, evenly over time"
            )
        sources = [str(label_file)] if label_file and report.is_label_file_used else []
        sources += report.label_topics
        lines.append(f"labels: {', '.join(sources) or 'none'}")
        if label_file and not report.is_label_file_used:
            lines.append(
                f"label file {label_file} has the time of none of these images; its times are "
                f"compared with those of the frames' headers, or count from the beginning of the "
                f"recording"
            )
        if report.loss:
            lines.append(f"it could not be read whole: {report.loss}")
        return lines

    def examples(self) -> Generator[Example, None, None]:
        """Yield the frames in the order of recording."""
        with self._bag as bag:
            for place, (frame, label) in enumerate(bag.frames()):
                self._counts[frame.topic] += 1
                if self._chosen is not None and place not in self._chosen:
                    self._left_out += 1
                    continue
                name = f"{frame.topic} #{self._counts[frame.topic]}"
                try:
                    yield Example(name, decode_frame(frame), label)
                except FrameError:
                    yield Example(name, None, label)


def open_examples(
    path: Path,
    *,
    topics: Collection[str] | None = None,
    label_file: Path | None = None,
    is_holdout: bool = False,
    limit: int | None = None,
) -> ExampleSource:
    """Return the images at a path.

    Args:
        path: An image file, a folder of images, a robot's dataset, or a rosbag.
        topics: Image topics of a rosbag; None: all.
        label_file: Labels of a rosbag by time; None: those that belong to it.
        is_holdout: Only what the robot's newest snapshot held out, of a dataset.
        limit: Most images, a fair sample; None: all.

    Raises:
        SourceError: There is nothing to read at the path, or it is of another kind than asked.
        FlRobotError: It cannot be read.
    """
    if not path.exists():
        raise SourceError(
            f"there is no {path}; expected an image, a folder of images, a dataset or a rosbag"
        )
    is_dataset = (path / INDEX_NAME).is_file()
    if is_holdout and not is_dataset:
        raise SourceError(f"--holdout is for a robot's dataset; {path} is none")
    if not is_dataset and is_bag(path):
        return _BagExamples(path, topics, label_file, limit)
    if topics or label_file:
        raise SourceError(f"--topics and --labels are for rosbags; {path} is none")
    if is_dataset:
        return _FileExamples(*_dataset_files(path, is_holdout), limit)
    if path.is_dir():
        return _FileExamples(*_folder_files(path), limit)
    if read_image(path) is None:
        raise SourceError(f"{path} is no image, no folder of images, no dataset and no rosbag")
    return _FileExamples([_File(path, path.name, "")], [], limit)


def _folder_files(folder: Path) -> tuple[list[_File], list[str]]:
    """Return the images of a folder, labelled as `read_image_folder` does, and its remarks."""
    found = read_image_folder(folder)
    notes = [*found.remarks, *(f"left out: {line}" for line in found.left_out_lines())]
    files = [
        _File(image.path, str(image.path.relative_to(folder)), image.label)
        for image in found.images
    ]
    return files, notes


def _dataset_files(folder: Path, is_holdout: bool) -> tuple[list[_File], list[str]]:
    """Return the labelled images of a dataset in the order of capture, and a note."""
    with Dataset.open(folder, read_only=True) as dataset:
        samples = sorted(dataset.samples(), key=lambda sample: (sample.stamp_ns, sample.id))
        waiting = len(dataset.unlabelled())
    notes = []
    if is_holdout:
        snapshots = sorted((folder.parent / "snapshots").glob("*.json"))  # Names begin with time.
        if not snapshots:
            raise SourceError(
                f"there is no snapshot in {folder.parent / 'snapshots'}; a run makes one, and "
                "holds images out"
            )
        snapshot = load_snapshot(snapshots[-1])
        held = {sample.id for sample in snapshot.holdout}
        samples = [sample for sample in samples if sample.id in held]
        notes.append(
            f"{len(samples):,} of the {len(held):,} images that the run of snapshot "
            f"{snapshot.id} held out are in the dataset"
        )
    elif waiting:
        notes.append(f"left out: {number(waiting, 'image')} without a label, for a person to give")
    if not samples:
        raise SourceError(f"dataset {folder} has no labelled images to predict")
    return [_File(folder / item.path, item.path, item.label) for item in samples], notes
