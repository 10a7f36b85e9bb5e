"""Exports, and what comes back from them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from labelled_images import content, encoded, filled, new

from fl_robot_ros.curation import image_export
from fl_robot_ros.curation.image_export import export_folder, export_tfrecords
from fl_robot_ros.curation.image_import import import_images
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError

LABELS = ("cat", "stop sign", "=1+1", 'a"b,c', "..", "\u6258\u76d8", "samples.csv", "")

_READ_BACK = """
import json, sys
import tensorflow as tf
kinds = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/format": tf.io.FixedLenFeature([], tf.string),
    "image/filename": tf.io.FixedLenFeature([], tf.string),
    "image/class/text": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}
rows = []
for record in tf.data.TFRecordDataset(sorted(sys.argv[1:])):
    item = tf.io.parse_single_example(record, kinds)
    shape = tf.io.decode_jpeg(item["image/encoded"]).shape
    rows.append([
        item["image/encoded"].numpy().hex(),
        item["image/format"].numpy().decode(),
        item["image/filename"].numpy().decode(),
        item["image/class/text"].numpy().decode(),
        int(item["image/class/label"]),
        list(shape),
    ])
print(json.dumps(rows))
"""


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    data = filled(tmp_path / "data", *LABELS)
    with Dataset(data) as dataset:
        dataset.add([new(3, "cat", "/rear, left\n"), new(4, "cat", "/rear")])
        seen: list[int] = []
        report = export_folder(
            dataset,
            tmp_path / "out",
            with_unlabelled=True,
            on_image=lambda done, total: seen.append(done),
        )
        samples = dataset.samples() + dataset.unlabelled()
    assert report.exported.total() == len(seen) == 10
    assert not report.left_out
    with (tmp_path / "out" / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = {int(row["id"]): row for row in csv.DictReader(file)}
    for sample in samples:
        row = rows[sample.id]
        image = (tmp_path / "out" / row["path"]).read_bytes()
        assert row["label"] == sample.label
        assert row["topic"] == sample.topic
        assert int(row["stamp_ns"]) == sample.stamp_ns
        assert row["sha256"] == sha256(image).hexdigest() == sample.sha256
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "unlabelled" in names
    assert "%73amples.csv" in names
    assert not [name for name in names if name.startswith(".")]

    with Dataset(tmp_path / "back") as dataset:
        assert import_images(dataset, tmp_path / "out").added.total() == 10
        assert import_images(dataset, tmp_path / "out").already_stored == 10
    assert content(tmp_path / "back") == content(data)
    with Dataset(data) as dataset:
        assert import_images(dataset, tmp_path / "out").already_stored == 10


def test_the_folder_where_a_image_lies_now_gives_its_label(tmp_path: Path) -> None:
    data = filled(tmp_path / "data", "cat", "", "")
    with Dataset(data) as dataset:
        export_folder(dataset, tmp_path / "out", with_unlabelled=True)
    first, _ = sorted((tmp_path / "out" / "unlabelled").iterdir())
    (tmp_path / "out" / "dog").mkdir()
    first.rename(tmp_path / "out" / "dog" / first.name)
    with Dataset(tmp_path / "back") as dataset:
        assert import_images(dataset, tmp_path / "out").added == {"cat": 1, "dog": 1, "": 1}


def test_what_is_not_as_it_was_stored_is_left_out_and_named(tmp_path: Path) -> None:
    data = filled(tmp_path / "data", "cat", "cat", "cat")
    with Dataset(data) as dataset:
        first, second, third = dataset.samples()
        (data / first.path).unlink()
        (data / second.path).write_bytes(encoded(77))
        for export, target in ((export_folder, "a"), (export_tfrecords, "b")):
            report = export(dataset, tmp_path / target)
            assert report.exported == {"cat": 1}
            assert [sample for sample, reason in report.left_out if reason] == [first, second]
        assert (tmp_path / "a" / third.path).exists()


def test_an_unfit_target_is_refused(tmp_path: Path) -> None:
    data = filled(tmp_path / "data", "cat", "unlabelled")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    with Dataset(data) as dataset:
        for target in (tmp_path / "full", tmp_path / "file", data, data / "out", data / "../data"):
            with pytest.raises(DatasetError):
                export_tfrecords(dataset, target)
        with pytest.raises(DatasetError, match="unlabelled"):
            export_folder(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (data / "out").exists()


def test_tensorflow_reads_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow to read the files back")
    monkeypatch.setattr(image_export, "RECORDS_PER_FILE", 2)
    data = filled(tmp_path / "data", "cat", "\u6258\u76d8", "cat", "", "dog", "dog")
    with Dataset(data) as dataset:
        report = export_tfrecords(dataset, tmp_path / "out", with_unlabelled=True)
        samples = dataset.samples() + dataset.unlabelled()
    assert report.exported == {"cat": 2, "dog": 2, "\u6258\u76d8": 1, "": 1}
    files = sorted(path.name for path in (tmp_path / "out").glob("*.tfrecord"))
    assert files == [
        *(f"train-0000{number}-of-00003.tfrecord" for number in range(3)),
        "unlabelled-00000-of-00001.tfrecord",
    ]
    labels = (tmp_path / "out" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == ["cat", "dog", "\u6258\u76d8"]
    # In a process of its own, so that the session does not carry TensorFlow along.
    command = [sys.executable, "-c", _READ_BACK, *(str(tmp_path / "out" / name) for name in files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    numbers = {"": -1, **{label: number for number, label in enumerate(labels)}}
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [
            (data / sample.path).read_bytes().hex(),
            "jpeg",
            sample.path,
            sample.label,
            numbers[sample.label],
            [12, 16, 3],
        ]
        for sample in samples
    ]
