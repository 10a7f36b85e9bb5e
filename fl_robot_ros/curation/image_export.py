"""The dataset's images on their way out: class folders, or TFRecord files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fl_robot_ros.curation.sample_manifest import ManifestWriter, manifest_writer
from fl_robot_ros.curation.tfds_metadata import (
    FILENAME,
    FORMAT,
    IMAGE,
    LABEL,
    TEXT,
    write_metadata,
)
from fl_robot_ros.curation.tfrecord import encode_example, write_record
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import file_name
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.label_text import UNLABELLED_NAME, names_no_label

LABELS_NAME = "labels.txt"
# Where TensorFlow Datasets and those who read with it look for what to train on.
_TRAIN_NAME = "train"
# Images in one TFRecord file: some 100 MB of camera images, as TensorFlow's guide advises.
RECORDS_PER_FILE = 1000

Progress = Callable[[int, int], None]


@dataclass
class ImageExport:
    """What was exported.

    Attributes:
        exported: Number of images by label, "" for the review pool.
        left_out: The samples whose file is gone, cannot be read or is another than was stored,
            each with the reason.
    """

    exported: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[Sample, str]] = field(default_factory=list)


def export_folder(
    dataset: DatasetReader,
    target: Path,
    *,
    with_unlabelled: bool = False,
    on_image: Progress = lambda done, total: None,
) -> ImageExport:
    """Copy the images into one folder for each class, as the dataset itself names them.

    The folders are as `keras.utils.image_dataset_from_directory` reads them. Beside them lies
    samples.csv, with which `import_images` brings back every sample as it was.

    Args:
        dataset: The dataset.
        target: A folder that is empty or not there yet, outside the dataset.
        with_unlabelled: Whether the review pool goes into a folder "unlabelled".
        on_image: Called after each image with the number done and of all.

    Raises:
        DatasetError: The target is unfit or cannot be written, a label is called like the folder
            of the review pool, or the index cannot be read.
    """
    samples = _choose(dataset, with_unlabelled)
    for sample in samples:
        if names_no_label(sample.label):
            raise DatasetError(
                f"the dataset has a label {sample.label!r}, whose folder would be taken for the "
                f"review pool; give its samples another label first"
            )
    report = ImageExport()
    try:
        _prepare(dataset, target)
        with manifest_writer(target) as manifest:
            for done, sample in enumerate(samples, 1):
                content = _read(dataset, sample, report)
                if content is not None:
                    name = f"{UNLABELLED_NAME}/{file_name(sample.path)}"
                    path = sample.path if sample.label else name
                    (target / path).parent.mkdir(exist_ok=True)
                    (target / path).write_bytes(content)
                    _note(sample, path, content, manifest, report)
                on_image(done, len(samples))
    except OSError as error:
        raise _failed(target, error) from error
    return report


def export_tfrecords(
    dataset: DatasetReader,
    target: Path,
    *,
    with_unlabelled: bool = False,
    on_image: Progress = lambda done, total: None,
) -> ImageExport:
    """Write the images into TFRecord files of tf.train.Example.

    An example has `image/encoded` (the JPEG file), `image/format` ("jpeg"), `image/filename`,
    `image/class/text` and `image/class/label`, the number of the label's line, from 0, in
    labels.txt; -1 and "" in the files of the review pool. samples.csv lies beside them, and what
    `tfds.builder_from_directory` needs: its splits are "train" and "unlabelled".

    Args:
        dataset: The dataset.
        target: A folder that is empty or not there yet, outside the dataset.
        with_unlabelled: Whether the review pool is exported too, into files of its own.
        on_image: Called after each image with the number done and of all.

    Raises:
        DatasetError: The target is unfit or cannot be written, or the index cannot be read.
    """
    samples = _choose(dataset, with_unlabelled)
    labels = sorted({sample.label for sample in samples} - {""})
    numbers = {label: number for number, label in enumerate(labels)}
    parts = {
        _TRAIN_NAME: [sample for sample in samples if sample.label],
        UNLABELLED_NAME: [sample for sample in samples if not sample.label],
    }
    report = ImageExport()
    lengths: dict[str, list[int]] = {prefix: [] for prefix, part in parts.items() if part}
    done = 0
    try:
        _prepare(dataset, target)
        text = "".join(f"{label}\n" for label in labels)
        (target / LABELS_NAME).write_text(text, encoding="utf-8")
        with manifest_writer(target) as manifest:
            for prefix, part in parts.items():
                files = -(-len(part) // RECORDS_PER_FILE)
                for index in range(files):
                    start = index * RECORDS_PER_FILE
                    name = f"{prefix}-{index:05d}-of-{files:05d}.tfrecord"
                    before = report.exported.total()
                    with (target / name).open("wb") as file:
                        for sample in part[start : start + RECORDS_PER_FILE]:
                            content = _read(dataset, sample, report)
                            if content is not None:
                                write_record(file, _example(sample, content, numbers))
                                _note(sample, sample.path, content, manifest, report)
                            done += 1
                            on_image(done, len(samples))
                    lengths[prefix].append(report.exported.total() - before)
            write_metadata(target, labels, lengths)
    except OSError as error:
        raise _failed(target, error) from error
    return report


def _choose(dataset: DatasetReader, with_unlabelled: bool) -> list[Sample]:
    return dataset.samples() + (dataset.unlabelled() if with_unlabelled else [])


def _prepare(dataset: DatasetReader, target: Path) -> None:
    """Make the target where it is not there.

    Raises:
        DatasetError: Something is in it, or it lies in the dataset.
        OSError: It cannot be made.
    """
    if target.resolve().is_relative_to(dataset.path.resolve()):
        raise DatasetError(f"{target} lies in the dataset; export to a folder outside it")
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise DatasetError(f"{target} is not empty; expected a new or empty folder")


def _read(dataset: DatasetReader, sample: Sample, report: ImageExport) -> bytes | None:
    """Return a sample's file as it was stored; note those that cannot be had."""
    try:
        content = (dataset.path / sample.path).read_bytes()
    except OSError as error:
        report.left_out.append((sample, error.strerror or str(error)))
        return None
    if sample.sha256 and hashlib.sha256(content).hexdigest() != sample.sha256:
        report.left_out.append((sample, "is another image than was stored"))
        return None
    return content


def _note(
    sample: Sample, path: str, content: bytes, manifest: ManifestWriter, report: ImageExport
) -> None:
    manifest.add(sample, path, sample.sha256 or hashlib.sha256(content).hexdigest())
    report.exported[sample.label] += 1


def _example(sample: Sample, content: bytes, numbers: dict[str, int]) -> bytes:
    return encode_example(
        {
            IMAGE: content,
            FORMAT: b"jpeg",
            FILENAME: sample.path.encode(),
            TEXT: sample.label.encode(),
            LABEL: numbers.get(sample.label, -1),
        }
    )


def _failed(target: Path, error: OSError) -> DatasetError:
    return DatasetError(f"cannot export to {target}: {error.strerror or error}")
