"""Exports, and what comes back from them."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

import pytest
from labelled_images import content, encoded, filled, new

from fl_robot_ros.curation.image_export import export_folder
from fl_robot_ros.curation.image_import import import_images
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError

LABELS = ("cat", "stop sign", "=1+1", 'a"b,c', "..", "\u6258\u76d8", "samples.csv", "")


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    data = filled(tmp_path / "data", *LABELS)
    with Dataset(data) as dataset:
        dataset.add([new(3, "cat", "/rear, left\n"), new(4, "cat", "/rear")])
        seen: list[int] = []
        report = export_folder(
            dataset,
            tmp_path / "out",
            with_unlabelled=True,
            on_progress=lambda done, total: seen.append(done),
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


def test_the_folder_where_an_image_lies_now_gives_its_label(tmp_path: Path) -> None:
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
        report = export_folder(dataset, tmp_path / "out")
        assert report.exported == {"cat": 1}
        assert [sample for sample, reason in report.left_out if reason] == [first, second]
        assert (tmp_path / "out" / third.path).exists()


def test_an_invalid_target_is_refused(tmp_path: Path) -> None:
    data = filled(tmp_path / "data", "cat")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    with Dataset(data) as dataset:
        for target in (tmp_path / "full", tmp_path / "file", data, data / "out", data / "../data"):
            with pytest.raises(DatasetError):
                export_folder(dataset, target)
        dataset.add([new(7, "unlabelled")])
        with pytest.raises(DatasetError, match="unlabelled"):
            export_folder(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (data / "out").exists()
