"""The whole dataset, looked at file by file: what a start leaves out because it takes long."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_files import find_files
from fl_robot_ros.dataset.sample_paths import (
    REVIEW_NAME,
    file_name,
    hash_topic,
    parse_image_name,
    recovered_topic,
)
from fl_robot_ros.errors import DatasetError, LabelError
from fl_robot_ros.images.image_files import decode_image
from fl_robot_ros.labels.label_folder import label_from_folder


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        samples: Number of samples looked at.
        missing: Samples whose file is gone.
        altered: Samples whose file is another image than the one that was stored.
        broken: Samples whose file is no image any more.
        stray: Images, by path in the dataset, that the index does not know.
        rubbish: Files with an image's name that are no image and that the index does not know.
        unreadable: Samples whose file is there and cannot be read, which no repair changes.
        foreign: Number of other files, which are left alone.
        unrepaired: Paths of what a repair cannot mend, or could not.
    """

    samples: int = 0
    missing: list[Sample] = field(default_factory=list)
    altered: list[Sample] = field(default_factory=list)
    broken: list[Sample] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    rubbish: list[str] = field(default_factory=list)
    unreadable: list[Sample] = field(default_factory=list)
    foreign: int = 0
    unrepaired: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether index and files agree."""
        return not self._faults()

    @property
    def is_repairable(self) -> bool:
        """Whether a repair mends something."""
        return self._faults() > len(self.unrepaired)

    def _faults(self) -> int:
        samples = [*self.missing, *self.altered, *self.broken, *self.unreadable]
        return len(samples) + len(self.stray) + len(self.rubbish)


def check_dataset(
    dataset: DatasetReader, *, on_file: Callable[[int, int], None] = lambda done, total: None
) -> CheckReport:
    """Compare the index with every file and its SHA-256.

    What others store, move or remove during a check is no fault.

    Args:
        dataset: The dataset.
        on_file: Called after each file with the number of files done and of all.

    Raises:
        DatasetError: The folder or the index cannot be read.
    """
    samples = _all_samples(dataset)
    try:
        return _check(dataset, samples, on_file)
    except OSError as error:
        raise DatasetError(f"dataset {dataset.path} cannot be checked: {error}") from error


def repair_dataset(
    dataset: Dataset, *, on_file: Callable[[int, int], None] = lambda done, total: None
) -> CheckReport:
    """Check a dataset, and make index and files agree.

    Samples without an image are forgotten; stray and altered images are taken into the index,
    with the label of their folder; rubbish is removed.

    Args:
        dataset: The dataset. Nobody should capture into it meanwhile.
        on_file: Called after each file with the number of files done and of all.

    Returns:
        What was found, and what of it could not be mended.

    Raises:
        DatasetError: The folder or the index cannot be read or written.
    """
    report = check_dataset(dataset, on_file=on_file)
    try:
        _repair(dataset, report)
    except OSError as error:
        raise DatasetError(f"dataset {dataset.path} cannot be repaired: {error}") from error
    return report


def _check(
    dataset: DatasetReader, samples: Sequence[Sample], on_file: Callable[[int, int], None]
) -> CheckReport:
    found = find_files(dataset.path)
    report = CheckReport(samples=len(samples), foreign=found.foreign)
    known = {sample.path for sample in samples}
    strays = sorted(found.images - known)
    total = len(samples) + len(strays)
    for done, sample in enumerate(samples, 1):
        _check_sample(dataset, sample, sample.path in found.images, report)
        on_file(done, total)
    for done, path in enumerate(strays, len(samples) + 1):
        # One that is gone meanwhile is sorted out below.
        with suppress(FileNotFoundError):
            is_image = decode_image((dataset.path / path).read_bytes()) is not None
            (report.stray if is_image else report.rubbish).append(path)
        on_file(done, total)
    if not report.is_sound:
        _forget_changes(dataset, report)
        report.unrepaired = _beyond_repair(dataset, report)
    return report


def _check_sample(
    dataset: DatasetReader, sample: Sample, is_there: bool, report: CheckReport
) -> None:
    if not is_there:
        report.missing.append(sample)
        return
    try:
        content = (dataset.path / sample.path).read_bytes()
    except FileNotFoundError:
        report.missing.append(sample)
        return
    except OSError:
        report.unreadable.append(sample)
        return
    if sample.sha256 == hashlib.sha256(content).hexdigest():
        return
    is_image = decode_image(content) is not None
    (report.altered if is_image else report.broken).append(sample)


def _forget_changes(dataset: DatasetReader, report: CheckReport) -> None:
    """Take out of a report what others changed while the check went on."""
    now = {sample.path: sample for sample in _all_samples(dataset)}
    report.missing = [
        sample
        for sample in report.missing
        if now.get(sample.path) == sample and not (dataset.path / sample.path).is_file()
    ]
    report.altered = [sample for sample in report.altered if now.get(sample.path) == sample]
    report.broken = [sample for sample in report.broken if now.get(sample.path) == sample]
    report.stray = [path for path in report.stray if path not in now]
    report.rubbish = [path for path in report.rubbish if path not in now]


def _all_samples(dataset: DatasetReader) -> list[Sample]:
    return dataset.samples() + dataset.unlabelled()


def _beyond_repair(dataset: DatasetReader, report: CheckReport) -> list[str]:
    """Return the paths of what a repair leaves alone."""
    gone = {sample.id for sample in [*report.missing, *report.broken]}
    names = {file_name(item.path) for item in _all_samples(dataset) if item.id not in gone}
    paths = []
    for path in report.stray:
        # Of a copy of a sample: two files of one name cannot be moved at once.
        if file_name(path) in names or _label_of(path) is None:
            paths.append(path)
        else:
            names.add(file_name(path))
    return paths + [sample.path for sample in report.unreadable]


def _repair(dataset: Dataset, report: CheckReport) -> None:
    # A file's name tells no more of its topic than the hash.
    topics = {hash_topic(sample.topic): sample.topic for sample in _all_samples(dataset)}
    dataset.remove(sample.id for sample in [*report.missing, *report.broken])
    for sample in report.altered:
        _adopt(dataset, sample.path, sample.label, sample.topic, sample.stamp_ns)
    left_alone = set(report.unrepaired)
    for path in report.stray:
        label, parts = _label_of(path), parse_image_name(file_name(path))
        if path in left_alone or label is None or parts is None:
            continue
        topic = topics.get(parts.topic_hash) or recovered_topic(parts.topic_hash)
        try:
            _adopt(dataset, path, label, topic, parts.stamp_ns)
        except DatasetError:
            # Its frame has another name in the index.
            report.unrepaired.append(path)
    for path in report.rubbish:
        (dataset.path / path).unlink(missing_ok=True)


def _label_of(path: str) -> str | None:
    """Return the label that a file's folder stands for, None where it stands for none."""
    folder = path.partition("/")[0]
    try:
        return "" if folder == REVIEW_NAME else label_from_folder(folder)
    except LabelError:
        return None


def _adopt(dataset: Dataset, path: str, label: str, topic: str, stamp_ns: int) -> None:
    content = (dataset.path / path).read_bytes()
    image = decode_image(content)
    height, width = (0, 0) if image is None else image.shape[:2]
    dataset.adopt(path, NewSample(label, topic, stamp_ns, content, width, height))
