"""Export of a dataset into TFRecord files, as TensorFlow Datasets reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from fl_robot_ros.curation.image_export import (
    ExportedImage,
    ImageExport,
    Progress,
    open_export,
    samples_to_export,
)
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.label_text import UNLABELLED_NAME

LABELS_NAME = "labels.txt"
# Images in one TFRecord file: about 100 MB of camera images, as TensorFlow's guide advises.
RECORDS_PER_FILE = 1000
# Readers of TensorFlow Datasets look for this split.
_TRAIN_NAME = "train"


def export_tfrecords(
    dataset: DatasetReader,
    target: Path,
    *,
    with_unlabelled: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> ImageExport:
    """Write the images into TFRecord files of tf.train.Example.

    An example has `image/encoded` (the JPEG file), `image/format` ("jpeg"), `image/filename`,
    `image/class/text` and `image/class/label`: the number, from 0, of the label's line in
    labels.txt; -1 and "" in the files of the review pool. Beside the files lie samples.csv and
    the metadata for `tfds.builder_from_directory`, with the splits "train" and "unlabelled".

    Args:
        dataset: The dataset.
        target: A new or empty folder outside the dataset.
        with_unlabelled: Whether to export the review pool too, into files of its own.
        on_progress: Called after each image with the number done and the total.

    Raises:
        DatasetError: The target is invalid or cannot be written, or the index cannot be read.
    """
    samples = samples_to_export(dataset, with_unlabelled)
    labels = sorted({sample.label for sample in samples} - {""})
    numbers = {label: number for number, label in enumerate(labels)}
    parts = {
        _TRAIN_NAME: [sample for sample in samples if sample.label],
        UNLABELLED_NAME: [sample for sample in samples if not sample.label],
    }
    lengths: dict[str, list[int]] = {split: [] for split, part in parts.items() if part}
    try:
        with open_export(dataset, target, len(samples), on_progress) as export:
            text = "".join(f"{label}\n" for label in labels)
            (target / LABELS_NAME).write_text(text, encoding="utf-8")
            for split, part in parts.items():
                files = -(-len(part) // RECORDS_PER_FILE)
                for index in range(files):
                    start = index * RECORDS_PER_FILE
                    path = target / f"{split}-{index:05d}-of-{files:05d}.tfrecord"
                    before = export.report.exported.total()
                    with tf.io.TFRecordWriter(str(path)) as writer:
                        for image in export.images(part[start : start + RECORDS_PER_FILE]):
                            writer.write(_example(image, numbers))
                    lengths[split].append(export.report.exported.total() - before)
            if lengths:
                _write_metadata(target, labels, lengths)
    except tf.errors.OpError as error:
        raise DatasetError(f"cannot export to {target}: {error.message}") from error
    return export.report


def _example(image: ExportedImage, numbers: dict[str, int]) -> bytes:
    label = image.sample.label
    texts = {
        "image/encoded": image.content,
        "image/format": b"jpeg",
        "image/filename": image.path.encode(),
        "image/class/text": label.encode(),
    }
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        for name, text in texts.items()
    }
    features["image/class/label"] = tf.train.Feature(
        int64_list=tf.train.Int64List(value=[numbers.get(label, -1)])
    )
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString())


def _write_metadata(folder: Path, labels: list[str], lengths: dict[str, list[int]]) -> None:
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        template="{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
        dataset_name="fl_robot_ros",
    )
    features: dict[str, Any] = {
        "image/encoded": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "image/format": tfds.features.Text(),
        "image/filename": tfds.features.Text(),
        "image/class/text": tfds.features.Text(),
        "image/class/label": tfds.features.ClassLabel(names=labels),
    }
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=[
            tfds.core.SplitInfo(
                name=name, shard_lengths=counts, num_bytes=0, filename_template=template
            )
            for name, counts in lengths.items()
        ],
        filename_template=template,
        check_data=False,
    )
