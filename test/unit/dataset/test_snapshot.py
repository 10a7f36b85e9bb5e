"""Snapshots: frozen, saved, loaded, checked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze, load_snapshot
from fl_robot_ros.errors import SnapshotError

NOW_NS = 1_700_000_000_000_000_000


def fill(dataset: Dataset, count: int, label: str = "cat", start: int = 0) -> None:
    stamps = range(start, start + count)
    dataset.add([NewSample(label, "/camera", n * 10**9 // 5, b"x", 1, 1) for n in stamps])


def test_round_trip(tmp_path: Path) -> None:
    with Dataset(tmp_path / "data") as dataset:
        fill(dataset, 50)
        fill(dataset, 50, "dog", 1000)
        snapshot = freeze(dataset, 0.2, 2.0, clock=lambda: NOW_NS)
    assert snapshot.class_counts() == {"cat": 50, "dog": 50}
    assert snapshot.created_ns == NOW_NS
    assert snapshot.id == f"20231114T221320Z-{snapshot.content_hash[:8]}"
    assert len(snapshot.train) + len(snapshot.holdout) == 100
    assert all(snapshot.image_path(sample).is_file() for sample in snapshot.train)
    snapshot.save(tmp_path / "snapshots" / "one.json")
    assert load_snapshot(tmp_path / "snapshots" / "one.json") == snapshot
    assert [item.name for item in (tmp_path / "snapshots").iterdir()] == ["one.json"]


def test_what_the_gap_takes_is_counted(tmp_path: Path) -> None:
    with Dataset(tmp_path / "data") as dataset:
        fill(dataset, 60)
        snapshot = freeze(dataset, 0.2, 10.0, gap_sec=1.0)
    counts = len(snapshot.train), len(snapshot.holdout), snapshot.left_out
    assert counts == (44, 12, 4)
    snapshot.save(tmp_path / "one.json")
    assert load_snapshot(tmp_path / "one.json").left_out == 4


def test_later_samples_do_not_get_into_a_snapshot(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        fill(dataset, 20)
        before = freeze(dataset, 0.2, 10.0)
        last_id = dataset.last_id()
        fill(dataset, 20, "dog", 100)
        assert freeze(dataset, 0.2, 10.0, last_id).content_hash == before.content_hash
        assert freeze(dataset, 0.2, 10.0).content_hash != before.content_hash
        assert freeze(dataset, 0.4, 10.0, last_id).content_hash != before.content_hash


def test_empty_dataset_has_no_snapshot(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset, pytest.raises(SnapshotError, match="no labelled images"):
        freeze(dataset, 0.2, 2.0)


@pytest.mark.parametrize("damage", ["cut", "label", "path", "outside", "schema", "field", "type"])
def test_altered_snapshot_is_refused(tmp_path: Path, damage: str) -> None:
    with Dataset(tmp_path / "data") as dataset:
        fill(dataset, 5)
        freeze(dataset, 0.2, 2.0).save(tmp_path / "one.json")
    text = (tmp_path / "one.json").read_text()
    content = json.loads(text)
    if damage == "label":
        content["train"][0][1] = "dog"
    elif damage == "path":
        content["train"][0][4] = "/etc/passwd"
    elif damage == "outside":
        content["train"][0][4] = "../../secret.jpg"
    elif damage == "schema":
        content["schema_version"] = 2
    elif damage == "field":
        del content["holdout"]
    elif damage == "type":
        content["train"] = 3
    text = text[:-10] if damage == "cut" else json.dumps(content)
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(SnapshotError, match=r"one\.json"):
        load_snapshot(tmp_path / "one.json")


def test_missing_snapshot_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        load_snapshot(tmp_path / "none.json")


def test_full_disk_keeps_the_snapshot_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Dataset(tmp_path / "data") as dataset:
        fill(dataset, 5)
        old = freeze(dataset, 0.2, 2.0)
        old.save(tmp_path / "one.json")
        fill(dataset, 5, "dog", 100)
        fresh = freeze(dataset, 0.2, 2.0)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SnapshotError, match="No space left"):
        fresh.save(tmp_path / "one.json")
    assert load_snapshot(tmp_path / "one.json") == old
