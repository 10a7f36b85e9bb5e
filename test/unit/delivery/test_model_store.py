"""The robot's model versions: atomic, reversible, pruned, repaired."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fl_robot_ros.delivery.hold import Hold, HoldKind
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


BETTER = {"holdout_accuracy": 0.8, "holdout_accuracy_before": 0.7}
SAME = {"holdout_accuracy": 0.7, "holdout_accuracy_before": 0.7}


def test_a_refused_version_is_kept_and_used_only_by_hand(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", keep_versions=3)
    stored = store_model(store, accepted=False, reason="0.2 is below the floor of 0.5")
    assert (stored.is_current, store.current()) == (False, None)
    assert stored.note == "v00001 is stored and not used: 0.2 is below the floor of 0.5"
    good = add(store)
    for _ in range(3):
        stored = store_model(store, accepted=False, reason="worse")
        assert stored.note.endswith("worse; v00002 stays")
        assert store.current() == good
    # Refused ones go first, and the newest of all stays.
    assert [path.name for path in store.versions()] == ["v00002", "v00004", "v00005"]
    assert Manifest.load(store.versions()[-1]).reason == "worse"
    assert store.use("v00004") == store.current()
    # It was current because a person wanted it, so that a rollback leads to it.
    assert Manifest.load(add(store)).previous == "v00004"
    assert store.rollback().name == "v00004"
    assert store.rollback().name == "v00002"


def test_a_pinned_version_stays_whatever_comes(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", keep_versions=2)
    first = add(store)
    add(store)
    assert store.pin("v00001", "before the fair") == first == store.current()
    for _ in range(3):
        stored = store_model(store, metrics=BETTER)
        assert not stored.is_current
        assert stored.note.endswith("v00001 is pinned: before the fair; v00001 stays")
    assert store.current() == first
    with pytest.raises(ModelError, match=r"v00001 is pinned.*unpin"):
        store.rollback()
    with pytest.raises(ModelError, match="is pinned"):
        store.withdraw("v00001", "all of one class")
    assert store.unpin() == Hold(HoldKind.PINNED, "v00001", "before the fair")
    assert (store.unpin(), store.hold(), store.current()) == (None, None, first)
    assert store_model(store).is_current
    store.pin("v00001")
    assert store.use("v00006").name == "v00006"
    assert store.hold() is None


def test_after_a_rollback_only_a_better_version_comes_by_itself(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", 9)
    first = add(store)
    add(store)
    assert store.rollback("drove into a shelf") == first
    assert str(store.hold()) == "v00002 was rolled back: drove into a shelf"
    for metrics, words in ((SAME, "0.700 is not better than 0.700"), ({}, "unknown whether")):
        stored = store_model(store, metrics=metrics)
        assert not stored.is_current
        assert words in stored.note
        assert stored.note.endswith("v00001 stays")
    assert not store_model(store, metrics=BETTER, accepted=False).is_current
    stored = store_model(store, metrics=BETTER)
    assert stored.is_current
    assert stored.note == (
        "v00006 is current, which ends the hold: v00002 was rolled back: drove into a shelf"
    )
    assert store.hold() is None
    assert store_model(store).note == ""
    # What was taken back does not return by a rollback, but a person may go forward to it.
    store.withdraw("v00006", "found late")
    assert store.withdrawal("v00006") == "found late"
    assert Manifest.load(store.versions()[-1]).previous == "v00006"
    assert store.rollback() == first
    assert store.use("v00002").name == "v00002"
    assert (store.hold(), store.withdrawal("v00002")) == (None, None)


def test_the_only_version_cannot_be_taken_back(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    first = add(store)
    with pytest.raises(ModelError, match="no version before v00001"):
        store.withdraw("v00001", "all of one class")
    assert (store.current(), store.hold(), store.withdrawal("v00001")) == (first, None, None)
    for version in ("v00002", "../v00001", "current", "", "v1"):
        with pytest.raises(ModelError, match="there is no version"):
            store.use(version)
    with pytest.raises(ModelError, match="there is no current model, nor any other"):
        ModelStore(tmp_path / "absent").rollback()


def test_a_damaged_version_never_becomes_current(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    for _ in range(4):
        add(store)
    for version, name in (("v00003", "model.tflite"), ("v00001", "model.keras")):
        (store.models_dir / version / name).write_bytes(b"other")
        for change in (store.verify, store.use, store.pin):
            with pytest.raises(ModelError, match="SHA-256"):
                change(version)
    # v00003 was current before, and is passed over.
    assert store.rollback().name == "v00002"
    (store.models_dir / "v00002" / "model.keras").unlink()
    # v00004 was taken back, and v00001 and v00003 are damaged: nothing is left.
    assert store.repair() == []
    store.use("v00004")
    (store.models_dir / "v00001" / "model.keras").write_bytes(b"model")
    (store.models_dir / "v00004" / "model.keras").unlink()
    assert "made v00001 current" in store.repair()[0]


def test_a_damaged_record_of_a_hold_counts_as_a_pin(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    add(store)
    for content in ("", "[]", '{"kind": "glued", "version": "v00001", "reason": ""}'):
        (store.models_dir / "hold.json").write_text(content)
        hold = store.hold()
        assert hold is not None
        assert hold.kind == HoldKind.PINNED
        assert "hold.json is damaged" in str(hold)
        assert not store_model(store).is_current
    store.unpin()
    assert store_model(store).is_current


def test_a_rollback_and_a_delivery_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(tmp_path / "models", keep_versions=2)
    add(store), add(store)

    def deliver() -> None:
        for _ in range(3):
            store_model(ModelStore(tmp_path / "models", keep_versions=2), metrics=BETTER)

    worker = threading.Thread(target=deliver)
    point_to = ModelStore._point_to

    def point_late(self: ModelStore, folder: Path) -> None:
        if threading.current_thread() is not worker and not worker.ident:
            worker.start()
            # Without the lock the worker now removes the version that is about to be current.
            worker.join(timeout=0.5)
        point_to(self, folder)

    monkeypatch.setattr(ModelStore, "_point_to", point_late)
    assert store.rollback().name == "v00001"
    worker.join()
    current = store.current()
    assert current is not None
    assert current.name == "v00005"


def test_a_repair_leaves_the_delivery_of_another_process(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")

    def build(folder: Path) -> Candidate:
        (folder / "model.keras").write_bytes(b"model")
        assert ModelStore(tmp_path / "models").repair() == []
        return Candidate(classes=["a"], preprocessing=INPUT)

    assert store.add(build).is_current


def test_repair_finishes_what_was_begun(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    add(store), add(store)
    (store.models_dir / "v00002" / "withdrawn.txt").write_text("all of one class\n")
    (store.models_dir / ".removed-v00000").mkdir()
    (store.models_dir / ".removed-v00000" / "model.keras").write_bytes(b"old")
    (store.models_dir / ".staging-hold.json").write_bytes(b"{")
    (store.models_dir / "v00001" / ".staging-withdrawn.txt").write_bytes(b"")
    assert store.repair() == [
        "removed the rest of v00000",
        "made v00001 current, since v00002 was taken back",
    ]
    assert names_in(store) == [".lock", "current", "v00001", "v00002"]
    assert len([*(store.models_dir / "v00001").iterdir()]) == 3


@pytest.mark.parametrize("target", ["{models}/v00001", "./v00001", "../models/v00001", "link"])
def test_any_link_to_a_version_of_the_store_names_the_current_one(
    tmp_path: Path, target: str
) -> None:
    store = ModelStore(tmp_path / "models")
    first = add(store)
    (store.models_dir / "link").symlink_to("v00001")
    (store.models_dir / "current").unlink()
    (store.models_dir / "current").symlink_to(target.format(models=store.models_dir))
    assert store.current() == first
    # A second name of the folder changes nothing.
    (tmp_path / "alias").symlink_to("models")
    assert ModelStore(tmp_path / "alias").current() == tmp_path / "alias" / "v00001"


@pytest.mark.parametrize("target", ["v00009", "../elsewhere", "/etc", "current", ""])
def test_a_link_to_anything_but_a_version_is_no_current_version(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    store = ModelStore(tmp_path / "models", 5)
    store.models_dir.mkdir()
    if target:
        (store.models_dir / "current").symlink_to(target)
    assert store.current() is None
