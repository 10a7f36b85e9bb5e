"""Full check and repair of a dataset; too slow for start-up."""

from __future__ import annotations

import hashlib
from collections import defaultdict
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
    folder_of_label,
    hash_topic,
    parse_image_name,
    recovered_topic,
)
from fl_robot_ros.errors import DatasetError, LabelError
from fl_robot_ros.images.image_files import decode_image
from fl_robot_ros.labels.label_folder import label_from_folder

# Samples moved in one transaction.
_BATCH = 500


@dataclass
class CheckReport:
    """The result of a check.

    Attributes:
        samples: Number of samples checked.
        missing: Samples without a file.
        altered: Samples whose file is another image than was stored.
        broken: Samples whose file is no image any more.
        stray: Images with the name of a sample, by path in the dataset, that are not in the index.
        rubbish: Files with the name of a sample that are no images and not in the index.
        unreadable: Samples whose file cannot be read, which no repair changes.
        foreign: Number of other files, which are left alone.
        unrepaired: Paths that a repair cannot mend, or could not.
        old_folders: Folders of labels with the name that an earlier version gave them. They work;
            a repair renames them, so that Keras shows the labels as people wrote them.
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
    old_folders: list[str] = field(default_factory=list)

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
    dataset: DatasetReader, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> CheckReport:
    """Compare the index with every file and its SHA-256.

    Changes by other processes during a check are no fault.

    Args:
        dataset: The dataset.
        on_progress: Called after each file with the number of files done and the total.

    Raises:
        DatasetError: The folder or the index cannot be read.
    """
    samples = _all_samples(dataset)
    try:
        return _check(dataset, samples, on_progress)
    except OSError as error:
        raise DatasetError(f"dataset {dataset.path} cannot be checked: {error}") from error


def repair_dataset(
    dataset: Dataset, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> CheckReport:
    """Check a dataset, and make index and files agree.

    Samples without an image are removed from the index; stray and altered images are added to it,
    with the label of their folder; rubbish is deleted; folders that an earlier version named are
    renamed. A repair that was killed is finished by the next one.

    Args:
        dataset: The dataset, which nobody should capture into meanwhile.
        on_progress: Called after each file with the number of files done and the total.

    Returns:
        The faults found, and those that could not be mended.

    Raises:
        DatasetError: The folder or the index cannot be read or written.
    """
    report = check_dataset(dataset, on_progress=on_progress)
    try:
        _repair(dataset, report)
    except OSError as error:
        raise DatasetError(f"dataset {dataset.path} cannot be repaired: {error}") from error
    return report


def _check(
    dataset: DatasetReader, samples: Sequence[Sample], on_progress: Callable[[int, int], None]
) -> CheckReport:
    found = find_files(dataset.path)
    report = CheckReport(samples=len(samples), foreign=found.foreign)
    report.old_folders = sorted({_folder(item) for item in samples if _is_in_old_folder(item)})
    known = {sample.path for sample in samples}
    strays = sorted(found.images - known)
    total = len(samples) + len(strays)
    for done, sample in enumerate(samples, 1):
        _check_sample(dataset, sample, sample.path in found.images, report)
        on_progress(done, total)
    for done, path in enumerate(strays, len(samples) + 1):
        # _forget_changes handles a file that is gone meanwhile.
        with suppress(FileNotFoundError):
            is_image = decode_image((dataset.path / path).read_bytes()) is not None
            (report.stray if is_image else report.rubbish).append(path)
        on_progress(done, total)
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
    """Remove from a report what other processes changed during the check."""
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
    """Return the paths that a repair leaves alone."""
    gone = {sample.id for sample in [*report.missing, *report.broken]}
    names = {file_name(item.path) for item in _all_samples(dataset) if item.id not in gone}
    paths = []
    for path in report.stray:
        # A copy of a sample: two files of one name cannot pass the staging folder together.
        if file_name(path) in names or _label_of(path) is None:
            paths.append(path)
        else:
            names.add(file_name(path))
    return paths + [sample.path for sample in report.unreadable]


def _repair(dataset: Dataset, report: CheckReport) -> None:
    # A file name has only the hash of the topic.
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
            # The index has its topic and stamp under another name.
            report.unrepaired.append(path)
    for path in report.rubbish:
        (dataset.path / path).unlink(missing_ok=True)
    _rename_old_folders(dataset)


def _rename_old_folders(dataset: Dataset) -> None:
    """Move samples to the folders of their labels, with their paths in the index."""
    ids: defaultdict[str, list[int]] = defaultdict(list)
    for sample in filter(_is_in_old_folder, _all_samples(dataset)):
        ids[sample.label].append(sample.id)
    for label, numbers in ids.items():
        for start in range(0, len(numbers), _BATCH):
            dataset.relabel(numbers[start : start + _BATCH], label)


def _is_in_old_folder(sample: Sample) -> bool:
    return _folder(sample) != folder_of_label(sample.label)


def _folder(sample: Sample) -> str:
    return sample.path.partition("/")[0]


def _label_of(path: str) -> str | None:
    """Return the label of a file's folder, None if it is no folder of a label."""
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
