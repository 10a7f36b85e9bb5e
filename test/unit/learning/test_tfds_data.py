"""A folder of TensorFlow Datasets as learning data."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_source import make_source, open_data
from numpy.typing import NDArray

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.cli.dataset import main
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.tfds_data import open_tfds

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")

NAMES = ["blue", "green", "red"]
INPUT = Preprocessing(height=6, width=8, channels=3, scale=1 / 255)
FORMATS = pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])


def make_image(channel: int, number: int) -> NDArray[np.uint8]:
    """Return an RGB image of one colour, of its own brightness and size."""
    image = np.zeros((20 + number, 24, 3), np.uint8)
    image[..., channel] = 150 + number
    return image


def write(
    folder: Path, counts: dict[str, int], file_format: str = "tfrecord", **features: Any
) -> Path:
    """Write a dataset with as many images of each label in each split."""
    import tensorflow as tf
    from array_record.python.array_record_module import ArrayRecordWriter

    connector = tfds.features.FeaturesDict(
        {
            "number": tfds.features.Scalar(np.int64),
            "kind": tfds.features.ClassLabel(names=NAMES),
            "photo": tfds.features.Image(shape=(None, None, 3)),
            **features,
        }
    )
    folder.mkdir(parents=True)
    splits = []
    template = tfds.core.ShardedFileTemplate(
        dataset_name="mine", data_dir=folder, filetype_suffix=file_format
    )
    for split, count in counts.items():
        records = []
        for number in range(3 * count):
            example = {"number": number, "kind": number % 3}
            if "photo" in connector:
                example["photo"] = make_image(2 - number % 3, number)
            records.append(connector.serialize_example(connector.encode_example(example)))
        path = folder / f"mine-{split}.{file_format}-00000-of-00001"
        writer: Any
        if file_format == "tfrecord":
            writer = tf.io.TFRecordWriter(str(path))
        else:
            writer = ArrayRecordWriter(str(path), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
        splits.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(records)],
                num_bytes=path.stat().st_size,
                filename_template=template.replace(split=split),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=connector,
        split_infos=splits,
        filename_template=template,
        check_data=False,
    )
    return folder


@FORMATS
def test_features_are_found_by_type_and_a_share_is_held_out(
    tmp_path: Path, file_format: str
) -> None:
    folder = write(tmp_path / "mine" / "1.0.0", {"train": 10}, file_format)
    data = open_data(make_source("tfds", str(folder), holdout_fraction=0.2))
    train, holdout = data.load(("red", "BLUE"), INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([8, 8], [2, 2])
    assert (train.unmapped, holdout.unmapped) == ({"green": 8}, {"green": 2})
    seen = set()
    for side in (train, holdout):
        assert side.images.shape[1:] == INPUT.input_shape
        for image, label in zip(side.images, side.labels, strict=True):
            pixel = image[3, 3].tolist()
            assert (pixel.index(max(pixel)), label) in ((0, 0), (2, 1))
            seen.add(tuple(pixel))
    assert len(seen) == 20
    again, _ = data.load(("red", "BLUE"), INPUT)
    assert np.array_equal(again.images, train.images)


@FORMATS
def test_a_test_split_is_the_holdout(tmp_path: Path, file_format: str) -> None:
    counts = {"train": 4, "validation": 1, "test": 2}
    folder = write(tmp_path / "1.0.0", counts, file_format)
    train, holdout = open_tfds(folder, 0.2).load(NAMES, INPUT)
    assert (train.class_counts(3), holdout.class_counts(3)) == ([4, 4, 4], [2, 2, 2])


def _cut_records(folder: Path) -> None:
    [path] = folder.glob("*.tfrecord-*")
    path.write_bytes(path.read_bytes()[:-30])


def _remove_records(folder: Path) -> None:
    [path] = folder.glob("*.tfrecord-*")
    path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _cut_records,
        _remove_records,
        lambda folder: (folder / "features.json").write_text("{"),
        lambda folder: (folder / "features.json").write_text('{"pythonClassName": "os.nothing"}'),
        lambda folder: (folder / "features.json").unlink(),
        lambda folder: (folder / "dataset_info.json").write_text("nonsense"),
        lambda folder: (folder / "dataset_info.json").unlink(),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = write(tmp_path / "1.0.0", {"train": 4})
    damage(folder)
    with pytest.raises(DatasetError, match="TensorFlow Datasets cannot read") as caught:
        open_tfds(folder, 0.2).load(NAMES, INPUT)
    assert "\n" not in str(caught.value)


def test_missing_features_and_splits_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {"train": 1}, kind=tfds.features.Scalar(np.int64))
    with pytest.raises(
        DatasetError, match=r"no feature of type ClassLabel; it has kind \(Scalar\)"
    ):
        open_tfds(folder, 0.2)
    folder = write(tmp_path / "b", {"all": 2})
    with pytest.raises(DatasetError, match=r"has the splits \['all'\]; expected one named"):
        open_tfds(folder, 0.2)


def test_a_broken_image_is_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "1.0.0", {"train": 4})
    import tensorflow as tf

    [path] = folder.glob("*.tfrecord-*")
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    png = cv2.imencode(".png", cv2.cvtColor(make_image(2, 0), cv2.COLOR_RGB2BGR))[1].tobytes()
    broken = [bytearray(record) for record in records]
    start = broken[0].index(png[:8])
    broken[0][start : start + 8] = b"no image"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in broken:
            writer.write(bytes(record))
    train, holdout = open_tfds(folder, 0.25).load(NAMES, INPUT)
    assert len(train) + len(holdout) == 11
    assert train.unreadable + holdout.unreadable == 1


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DatasetError, match=r"pip install 'fl_robot_ros\[tfds\]'"):
        open_tfds(tmp_path, 0.2)


def test_an_export_of_a_dataset_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    from fl_robot_ros.learning import tfrecord_export

    monkeypatch.setattr(tfrecord_export, "RECORDS_PER_FILE", 2)
    # The command sets both where they are missing.
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.setenv(name, os.environ.get(name, "0"))
    labels = ["red", "", "\u6258\u76d8", "red", "red", "red"]
    with Dataset(tmp_path / "data") as dataset:
        dataset.add(
            [
                NewSample(label, "/camera", number, jpeg(number), 24, 20)
                for number, label in enumerate(labels)
            ]
        )
        gone = dataset.samples()[-1]
        (dataset.path / gone.path).unlink()
        command = ["export", f"--dataset={dataset.path}", f"--to={tmp_path / 'out'}"]
        assert main([*command, "--format=tfrecord", "--unlabelled"]) == 1
        output = capsys.readouterr().out
        assert f"images left out (see `fl_dataset check`): 1\n  {gone.path}: " in output
        # An example of TensorFlow alone: names, files and labels in the order of samples.csv.
        files = sorted((tmp_path / "out").glob("*.tfrecord"))
        assert [path.name for path in files] == [
            *(f"train-0000{number}-of-00003.tfrecord" for number in range(3)),
            "unlabelled-00000-of-00001.tfrecord",
        ]
        records = tf.data.TFRecordDataset([str(path) for path in files])
        examples = [tf.train.Example.FromString(record.numpy()) for record in records]
        for example, sample in zip(
            examples, dataset.samples()[:-1] + dataset.unlabelled(), strict=True
        ):
            feature = example.features.feature
            content = (dataset.path / sample.path).read_bytes()
            assert feature["image/encoded"].bytes_list.value == [content]
            assert feature["image/format"].bytes_list.value == [b"jpeg"]
            assert feature["image/class/text"].bytes_list.value == [sample.label.encode()]
            number = ["red", "\u6258\u76d8", ""].index(sample.label)
            assert feature["image/class/label"].int64_list.value == [-1 if number > 1 else number]
    labels_file = (tmp_path / "out" / "labels.txt").read_text(encoding="utf-8")
    assert labels_file == "red\n\u6258\u76d8\n"
    builder = tfds.builder_from_directory(tmp_path / "out")
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sizes == {"train": 4, "unlabelled": 1}
    for split, expected in (
        ("train", ["red", "\u6258\u76d8", "red", "red"]),
        ("unlabelled", [""]),
    ):
        rows = list(builder.as_dataset(split).as_numpy_iterator())
        assert sorted(row["image/class/text"].decode() for row in rows) == sorted(expected)
        assert all(row["image/encoded"].shape == (20, 24, 3) for row in rows)
    train, holdout = open_data(make_source("tfds", str(tmp_path / "out"))).load(
        ["\u6258\u76d8", "red"], INPUT
    )
    assert (len(train) + len(holdout), train.unreadable) == (4, 0)
    assert train.class_counts(2)[0] == 1


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", np.full((20, 24, 3), 20 * number, np.uint8))[1].tobytes()
