"""The robot's model versions: atomic, reversible, pruned, repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fl_robot_ros.delivery.manifest import Candidate, Manifest
from fl_robot_ros.delivery.model_store import ModelStore, StoredModel
from fl_robot_ros.errors import ModelError

INPUT = {"height": 8, "width": 8, "channels": 3, "scale": 1 / 255}


def store_model(store: ModelStore, content: bytes = b"model", **fields: Any) -> StoredModel:
    def build(folder: Path) -> Candidate:
        (folder / "model.keras").write_bytes(content)
        (folder / "model.tflite").write_bytes(content + b" lite")
        return Candidate(classes=["a", "b"], preprocessing=INPUT, **fields)

    return store.add(build)


def add(store: ModelStore, content: bytes = b"model", **fields: Any) -> Path:
    return store_model(store, content, **fields).folder


def names_in(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.models_dir.iterdir())


def test_an_empty_store_has_no_current_version(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", 5)
    assert store.current() is None
    assert store.versions() == []
    assert not (tmp_path / "models").exists()


def test_a_new_version_is_current_and_its_manifest_tells_all(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", 5)
    first = add(store, run=1, round=3, server="cloud:8000", robot="r1")
    second = add(store, b"better", run=2, round=6)
    assert store.current() == second == tmp_path / "models" / "v00002"
    manifest = Manifest.load(first)
    assert (manifest.run, manifest.round, manifest.server) == (1, 3, "cloud:8000")
    assert manifest.read_file(first, "model.keras") == b"model"
    assert Manifest.load(second).previous == "v00001"
    assert (tmp_path / "models" / "current").readlink() == Path("v00002")


def test_a_failed_export_leaves_everything_as_it_was(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", 5)
    first = add(store)

    def break_down(folder: Path) -> Candidate:
        (folder / "model.keras").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="No space left"):
        store.add(break_down)
    assert store.current() == first
    assert sorted(path.name for path in store.models_dir.iterdir()) == [
        ".lock",
        "current",
        "v00001",
    ]


def test_rollback_goes_back_along_the_versions_that_were_replaced(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", 5)
    first, second = add(store), add(store)
    assert store.rollback() == first == store.current()
    third = add(store, metrics={"holdout_accuracy": 0.8, "holdout_accuracy_before": 0.7})
    assert third.name == "v00003"
    # v00002 was found bad, so what comes before v00003 is v00001.
    assert store.rollback() == first
    with pytest.raises(ModelError, match="no version before v00001"):
        store.rollback()
    assert second.is_dir()


def test_rollback_of_an_empty_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no current model"):
        ModelStore(tmp_path, 5).rollback()


def test_old_versions_go_but_never_the_current_one_or_its_predecessor(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", keep_versions=2)
    for _ in range(4):
        add(store)
    assert [path.name for path in store.versions()] == ["v00003", "v00004"]
    store.rollback()
    store.unpin()
    add(store)
    # v00004 was taken back, so that it is needed no more.
    assert [path.name for path in store.versions()] == ["v00003", "v00005"]
    assert store.rollback().name == "v00003"


def test_repair_removes_what_a_power_cut_left(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", 5)
    version = add(store)
    unfinished = store.models_dir / ".staging-abc"
    unfinished.mkdir()
    (unfinished / "model.keras").write_bytes(b"half")
    (store.models_dir / ".current.tmp").symlink_to("v00009")
    (store.models_dir / "current").unlink()
    assert len(store.repair()) == 2
    assert store.current() == version
    assert sorted(path.name for path in store.models_dir.iterdir()) == [
        ".lock",
        "current",
        "v00001",
    ]
    assert store.repair() == []


@pytest.mark.parametrize("target", ["v00009", "../elsewhere", "/etc", ""])
def test_a_link_to_anything_but_a_version_is_no_current_version(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    store = ModelStore(tmp_path / "models", 5)
    store.models_dir.mkdir()
    if target:
        (store.models_dir / "current").symlink_to(target)
    assert store.current() is None
