"""samples.csv: what an export knows of its images and their files cannot say."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import file_name, hash_topic, parse_image_name
from fl_robot_ros.errors import SourceError
from fl_robot_ros.labels.folder_layout import MANIFEST_NAME

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COLUMNS = ("id", "label", "topic", "stamp_ns", "path", "sha256")


class ManifestWriter:
    """Writes the rows of a manifest."""

    def __init__(self, file: SupportsWrite[str]) -> None:
        """Write the header.

        Args:
            file: An open text file.

        Raises:
            OSError: It cannot be written.
        """
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, sample: Sample, path: str, sha256: str) -> None:
        """Write a row.

        Args:
            sample: The sample.
            path: Where its image is in the export.
            sha256: SHA-256 (hex) of the image.

        Raises:
            OSError: The file cannot be written.
        """
        row = (sample.id, sample.label, sample.topic, sample.stamp_ns, path, sha256)
        self._writer.writerow(row)


@contextmanager
def manifest_writer(folder: Path) -> Iterator[ManifestWriter]:
    """Write samples.csv in a folder; it gets its name when it is complete.

    Raises:
        OSError: It cannot be written.
    """
    with staging_file(folder / MANIFEST_NAME) as staging:
        with staging.open("w", encoding="utf-8", newline="") as file:
            yield ManifestWriter(file)


def read_topics(path: Path) -> dict[str, str]:
    """Read which topic the images of an export came from.

    Rows whose image has no name of a dataset, or the name of another topic, are left out.

    Args:
        path: A samples.csv.

    Returns:
        Topic by file name.

    Raises:
        SourceError: It cannot be read, or lacks a column.
    """
    topics: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if not {"path", "topic"} <= set(reader.fieldnames or ()):
                raise SourceError(
                    f"{path}: line 1: expected the columns {','.join(COLUMNS)}, as an export "
                    f"writes them"
                )
            for row in reader:
                name = file_name(row["path"] or "")
                topic = row["topic"] or ""
                parts = parse_image_name(name)
                if parts is not None and parts.topic_hash == hash_topic(topic):
                    topics[name] = topic
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return topics
