"""Export of a dataset's images into class folders, and what exports of every format share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.curation.sample_manifest import ManifestWriter, manifest_writer
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import file_name, folder_of_label
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.label_text import UNLABELLED_NAME, names_no_label

Progress = Callable[[int, int], None]


class ExportedImage(NamedTuple):
    """An image on its way into an export.

    Attributes:
        sample: Its sample.
        path: Its path in an export of class folders.
        content: Its JPEG file.
    """

    sample: Sample
    path: str
    content: bytes


@dataclass
class ImageExport:
    """The result of an export.

    Attributes:
        exported: Number of images by label, "" for the review pool.
        left_out: Samples whose file is missing, unreadable or altered, each with the reason.
    """

    exported: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[Sample, str]] = field(default_factory=list)


def export_folder(
    dataset: DatasetReader,
    target: Path,
    *,
    with_unlabelled: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> ImageExport:
    """Copy the images into one folder for each class, named as in a dataset.

    The folders are as `keras.utils.image_dataset_from_directory` reads them. Beside them lies
    samples.csv, from which `import_images` restores every sample as it was.

    Args:
        dataset: The dataset.
        target: A new or empty folder outside the dataset.
        with_unlabelled: Whether the review pool goes into a folder "unlabelled".
        on_progress: Called after each image with the number done and the total.

    Raises:
        DatasetError: The target is invalid or cannot be written, a label has the name of the
            folder for the review pool, or the index cannot be read.
    """
    samples = samples_to_export(dataset, with_unlabelled)
    for sample in samples:
        if names_no_label(sample.label):
            raise DatasetError(
                f"the dataset has a label {sample.label!r}, whose folder would be taken for the "
                f"review pool; give its samples another label first"
            )
    with open_export(dataset, target, len(samples), on_progress) as export:
        for image in export.images(samples):
            (target / image.path).parent.mkdir(exist_ok=True)
            (target / image.path).write_bytes(image.content)
    return export.report


def samples_to_export(dataset: DatasetReader, with_unlabelled: bool) -> list[Sample]:
    """Return the labelled samples, then those of the review pool if wanted.

    Raises:
        DatasetError: The index cannot be read.
    """
    return dataset.samples() + (dataset.unlabelled() if with_unlabelled else [])


class OpenExport:
    """Owns the samples.csv and the report of an export that is being written."""

    def __init__(
        self, dataset: DatasetReader, manifest: ManifestWriter, total: int, on_progress: Progress
    ) -> None:
        """Begin an export; see `open_export`."""
        self.report = ImageExport()
        self._dataset = dataset
        self._manifest = manifest
        self._done, self._total = 0, total
        self._on_progress = on_progress

    def images(self, samples: Sequence[Sample]) -> Iterator[ExportedImage]:
        """Yield the images of samples, and note each in samples.csv once it is written.

        Raises:
            OSError: samples.csv cannot be written.
        """
        for sample in samples:
            content = self._read(sample)
            if content is not None:
                folder = folder_of_label(sample.label) if sample.label else UNLABELLED_NAME
                path = f"{folder}/{file_name(sample.path)}"
                yield ExportedImage(sample, path, content)
                sha256 = sample.sha256 or hashlib.sha256(content).hexdigest()
                self._manifest.add(sample, path, sha256)
                self.report.exported[sample.label] += 1
            self._done += 1
            self._on_progress(self._done, self._total)

    def _read(self, sample: Sample) -> bytes | None:
        """Return a sample's file; None, noted in the report, if it is not as it was stored."""
        try:
            content = (self._dataset.path / sample.path).read_bytes()
        except OSError as error:
            self.report.left_out.append((sample, error.strerror or str(error)))
            return None
        if sample.sha256 and hashlib.sha256(content).hexdigest() != sample.sha256:
            self.report.left_out.append((sample, "is another image than was stored"))
            return None
        return content


@contextmanager
def open_export(
    dataset: DatasetReader, target: Path, total: int, on_progress: Progress
) -> Iterator[OpenExport]:
    """Create the folder of an export, and its samples.csv at the end.

    Args:
        dataset: The dataset.
        target: A new or empty folder outside the dataset.
        total: Number of samples.
        on_progress: Called after each image with the number done and the total.

    Raises:
        DatasetError: The target lies in the dataset, is not empty or cannot be written.
    """
    if target.resolve().is_relative_to(dataset.path.resolve()):
        raise DatasetError(f"{target} lies in the dataset; export to a folder outside it")
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise DatasetError(f"{target} is not empty; expected a new or empty folder")
        with manifest_writer(target) as manifest:
            yield OpenExport(dataset, manifest, total, on_progress)
    except OSError as error:
        raise DatasetError(f"cannot export to {target}: {error.strerror or error}") from error
