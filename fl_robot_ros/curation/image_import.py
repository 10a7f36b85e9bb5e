"""Folders of images on their way into the dataset."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.curation.sample_manifest import read_topics
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.sample import IMPORT_PREFIX
from fl_robot_ros.dataset.sample_paths import STAMP_LIMIT, file_name, parse_image_name
from fl_robot_ros.errors import DatasetError, FrameError, SourceError
from fl_robot_ros.images.frame import frame_bytes
from fl_robot_ros.images.image_files import decode_image
from fl_robot_ros.images.image_header import PNG_MAGIC, read_image_header
from fl_robot_ros.images.image_quality import MEASURED_SIDE_PX
from fl_robot_ros.images.jpeg import encode_jpeg
from fl_robot_ros.images.jpeg_layout import JPEG_MAGIC
from fl_robot_ros.images.jpeg_thumbnail import decode_jpeg_thumbnail
from fl_robot_ros.labels.folder_layout import INDEX_NAME, MANIFEST_NAME
from fl_robot_ros.labels.image_folder import ImageFolder, read_image_folder
from fl_robot_ros.labels.label_text import clean_label

# Samples stored with one transaction, and the most memory that they may take.
_BATCH = 64
_BATCH_BYTES = 64_000_000
_MAX_FILE_BYTES = 256_000_000
_JPEG_QUALITY = 95
_UNFIT_FOR_TOPIC = re.compile(r"[^\w.-]+")


@dataclass
class ImageImport:
    """What became of the images of a folder.

    Attributes:
        added: Number of new samples by label; "" for those that went to the review pool.
        labelled: Number of images by label that the dataset had without one.
        already_stored: Number of images that the dataset has already.
        otherwise_labelled: Those of them that have another label there than the folder gives
            them, each with the label that it keeps.
        unreadable: The files that are no whole image, each with the reason.
        left_out: What was left out, one line for each reason.
        remarks: How the folder was read, where that could have been otherwise.
    """

    added: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    already_stored: int = 0
    otherwise_labelled: list[tuple[Path, str]] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def import_images(
    dataset: Dataset,
    folder: Path,
    *,
    label: str = "",
    reserve_bytes: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImageImport:
    """Take the images of a folder into a dataset.

    Class folders and lists beside the images give the labels, as `read_image_folder` finds them;
    the rest goes to the review pool. Splits are taken together. A JPEG file of three channels is
    stored byte for byte, anything else as a JPEG of quality 95; like the capture, this takes no
    notice of an orientation in EXIF, and stores the pixels as they lie in the file.

    A file with a name as the dataset gives it keeps its capture time, and the topic that a
    samples.csv in the folder says, else `import/<folder name>/<the name's hash>`; where the
    dataset has a file of that name and content, it is that sample. Any other is from
    `import/<folder name>` at the time when it was last changed, some ns later where another
    image has that time; of those, an image that the topic has already is not stored twice,
    whatever its file is called.

    Args:
        dataset: The dataset.
        folder: The images.
        label: Label of images that no class folder gives one; "" for none.
        reserve_bytes: Room that stays free on the disk.
        on_progress: Called at the start and after each image with the number done and of all.

    Raises:
        SourceError: The folder, its samples.csv or the name of a class folder cannot be read,
            there is no image, it is not clear what the labels are, or the folder is a dataset.
        LabelError: The label is unfit.
        DatasetError: The disk is full or the dataset unwritable; what was stored before stays.
    """
    label = clean_label(label)
    found = _find(folder)
    images = [(image.path, image.label) for image in found.images]
    remarks = list(found.remarks)
    if any(image.split for image in found.images):
        remarks.append("all splits are taken; each run decides anew what is held out")
    manifest = folder / MANIFEST_NAME
    naming = _Naming(dataset, folder, read_topics(manifest) if manifest.is_file() else {})
    report = ImageImport(left_out=found.left_out_lines(), remarks=remarks)
    batch: list[NewSample] = []
    on_progress(0, len(images))
    for done, (path, own_label) in enumerate(images, 1):
        try:
            image = _read(path)
        except (OSError, FrameError) as error:
            report.unreadable.append((path, getattr(error, "strerror", None) or str(error)))
        else:
            item = image.sample(own_label or label, *naming.key(path.name, image))
            batch.append(item)
            kept_label = naming.kept_label(item)
            if item.label and kept_label != item.label:
                report.otherwise_labelled.append((path, kept_label))
        size_bytes = sum(len(item.image_bytes) for item in batch)
        if len(batch) == _BATCH or size_bytes > _BATCH_BYTES or done == len(images):
            _store(dataset, batch, reserve_bytes, report)
            batch.clear()
        on_progress(done, len(images))
    return report


def _find(folder: Path) -> ImageFolder:
    """Find the images of a folder, in class folders or none.

    Raises:
        SourceError: The folder cannot be read, has no image or deeper ones, or is a dataset.
    """
    if (folder / INDEX_NAME).exists():
        raise SourceError(f"{folder} is a dataset; export it first, and import the export")
    found = read_image_folder(folder)
    if found.deep:
        raise SourceError(
            f"{folder / found.deep[0]} has folders of its own, and it is not clear which of them "
            f"are classes; import that folder instead"
        )
    return found


@dataclass(frozen=True)
class _Image:
    """An image file as it will be stored."""

    content: bytes
    width: int
    height: int
    changed_ns: int

    def sample(self, label: str, topic: str, stamp_ns: int) -> NewSample:
        return NewSample(label, topic, stamp_ns, self.content, self.width, self.height)


class _Naming:
    """Gives every image its topic and its stamp, the same ones whenever it comes."""

    def __init__(self, dataset: Dataset, folder: Path, topics: Mapping[str, str]) -> None:
        name = _UNFIT_FOR_TOPIC.sub("_", folder.resolve().name) or "images"
        self._topic = f"{IMPORT_PREFIX}{name}"
        self._topics = topics
        samples = dataset.samples() + dataset.unlabelled()
        self._files = {
            (file_name(sample.path), sample.sha256): (sample.topic, sample.stamp_ns)
            for sample in samples
        }
        known = [sample for sample in samples if sample.topic == self._topic]
        self._stamps = {sample.stamp_ns for sample in known}
        self._next_stamps: dict[int, int] = {}
        self._contents = {sample.sha256: sample.stamp_ns for sample in known}
        self._labels = {(sample.topic, sample.stamp_ns): sample.label for sample in samples}

    def key(self, name: str, image: _Image) -> tuple[str, int]:
        """Return topic and stamp; those of the sample where the dataset has the image."""
        digest = hashlib.sha256(image.content).hexdigest()
        parts = parse_image_name(name)
        if parts is not None:
            topic = self._topics.get(name, f"{self._topic}/{parts.topic_hash}")
            return self._files.get((name, digest), (topic, parts.stamp_ns))
        if digest in self._contents:
            return self._topic, self._contents[digest]
        changed_ns = image.changed_ns
        stamp_ns = self._next_stamps.get(changed_ns, changed_ns)
        while stamp_ns in self._stamps:
            stamp_ns += 1
        self._stamps.add(stamp_ns)
        self._contents[digest] = stamp_ns
        # Unpacked from an archive, thousands of files may have one time.
        self._next_stamps[changed_ns] = stamp_ns + 1
        return self._topic, stamp_ns

    def kept_label(self, item: NewSample) -> str:
        """Return the label that the sample of this topic and stamp will have; the first stays."""
        key = (item.topic, item.stamp_ns)
        self._labels[key] = self._labels.get(key) or item.label
        return self._labels[key]


def _store(
    dataset: Dataset, batch: list[NewSample], reserve_bytes: int, report: ImageImport
) -> None:
    size_bytes = sum(len(item.image_bytes) for item in batch)
    free_bytes = dataset.free_bytes()
    if batch and free_bytes - size_bytes < reserve_bytes:
        raise DatasetError(
            f"dataset {dataset.path}: the disk has {free_bytes // 1_000_000} MB left, and "
            f"{reserve_bytes // 1_000_000} MB stay free; make room and import again: what is "
            f"stored already is not stored twice"
        )
    for item, outcome in zip(batch, dataset.add(batch), strict=True):
        if outcome == Verdict.KEPT:
            report.added[item.label] += 1
        elif outcome == Verdict.LABELLED:
            report.labelled[item.label] += 1
        else:
            report.already_stored += 1


def _read(path: Path) -> _Image:
    """Read an image file.

    Raises:
        OSError: The file cannot be read.
        FrameError: It is no whole image.
    """
    status = path.stat()
    # Some file systems take any time; stamps have 64 bits, and room above for those alike.
    changed_ns = min(max(status.st_mtime_ns, 0), STAMP_LIMIT // 2)
    if status.st_size > _MAX_FILE_BYTES:
        raise FrameError(f"{status.st_size} bytes; expected at most {_MAX_FILE_BYTES}")
    content = path.read_bytes()
    # Fails where the file is cut off or damaged, which decoders do not.
    is_known = content.startswith((JPEG_MAGIC, PNG_MAGIC))
    header = read_image_header(frame_bytes(content)) if is_known else None
    if header is not None and header.jpeg is not None:
        decode_jpeg_thumbnail(frame_bytes(content), header.jpeg, MEASURED_SIDE_PX)
        content = content[: header.end]
    image = decode_image(content)
    if image is None:
        raise FrameError("no image that can be read")
    height, width = image.shape[:2]
    if header is None or not header.is_rgb_jpeg:
        content = encode_jpeg(image, _JPEG_QUALITY)
    return _Image(content, width, height, changed_ns)
