"""What TensorFlow Datasets wants beside TFRecord files, written without it.

`tfds.builder_from_directory` reads dataset_info.json and features.json, which are messages of
tensorflow_datasets/core/proto/dataset_info.proto and feature.proto in JSON, and the class names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IMAGE, FORMAT, FILENAME = "image/encoded", "image/format", "image/filename"
TEXT, LABEL = "image/class/text", "image/class/label"

_FEATURES = "tensorflow_datasets.core.features"


def write_metadata(
    folder: Path, labels: Sequence[str], lengths: Mapping[str, Sequence[int]]
) -> None:
    """Write the files.

    Args:
        folder: Where the TFRecord files lie.
        labels: Class names in the order of their numbers.
        lengths: Number of records in each file of a split, by the split's name, with which the
            names of its files begin.

    Raises:
        OSError: A file cannot be written.
    """
    info = {
        "name": "fl_robot_ros",
        "version": "1.0.0",
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": name,
                "shardLengths": list(counts),
                "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
            }
            for name, counts in lengths.items()
        ],
    }
    image = {"dtype": "uint8", "encodingFormat": "jpeg", "shape": {"dimensions": [-1, -1, 3]}}
    features = {
        IMAGE: _feature("image_feature.Image", image=image),
        FORMAT: _feature("text_feature.Text", text={}),
        FILENAME: _feature("text_feature.Text", text={}),
        TEXT: _feature("text_feature.Text", text={}),
        LABEL: _feature("class_label_feature.ClassLabel", classLabel={"numClasses": len(labels)}),
    }
    whole = _feature("features_dict.FeaturesDict", featuresDict={"features": features})
    names = "".join(f"{label}\n" for label in labels)
    for name, text in (
        (f"{LABEL.replace('/', '.')}.labels.txt", names),
        ("features.json", json.dumps(whole, indent=4)),
        ("dataset_info.json", json.dumps(info, indent=4)),
    ):
        (folder / name).write_text(text, encoding="utf-8")


def _feature(name: str, **content: Any) -> dict[str, Any]:
    return {"pythonClassName": f"{_FEATURES}.{name}", **content}
