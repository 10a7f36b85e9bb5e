"""samples.csv of an export: the metadata that file names cannot carry."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import file_name, hash_topic, parse_image_name
from fl_robot_ros.errors import SourceError
from fl_robot_ros.labels.folder_layout import MANIFEST_NAME

COLUMNS = ("id", "label", "topic", "stamp_ns", "path", "sha256")


@contextmanager
def manifest_writer(folder: Path) -> Iterator[Callable[[Sample, str, str], None]]:
    """Write samples.csv in a folder, which appears when it is complete.

    Yields:
        Writes a row: a sample, the path of its image in the export, and the image's SHA-256 (hex).

    Raises:
        OSError: The file cannot be written.
    """
    with staging_file(folder / MANIFEST_NAME) as staging:
        with staging.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            yield lambda sample, path, sha256: rows.writerow(
                (sample.id, sample.label, sample.topic, sample.stamp_ns, path, sha256)
            )


def read_topics(path: Path) -> dict[str, str]:
    """Read the topics of the images of an export.

    Rows whose file name is not that of a sample of this topic are left out.

    Args:
        path: A samples.csv.

    Returns:
        Topic by file name.

    Raises:
        SourceError: The file cannot be read, or lacks a column.
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
