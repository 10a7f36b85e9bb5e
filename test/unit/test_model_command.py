"""The command `fl_model`: what it shows, and what it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fl_robot_ros.cli.model import main
from fl_robot_ros.delivery.manifest import Candidate, Manifest
from fl_robot_ros.delivery.model_store import ModelStore

WIDTH = 80
INPUT = {"height": 32, "width": 24, "channels": 1, "scale": 1.0}


def add(store: ModelStore, after: float, before: float | None = None, **fields: object) -> None:
    """Add a version with an accuracy before and after."""
    metrics = {"holdout_accuracy": after, "holdout_images": 57.0, "latency_ms": 0.31}
    recall = {"images": 30, "recall": after}
    if before is not None:
        metrics["holdout_accuracy_before"] = before
        recall["recall_before"] = before

    def build(folder: Path) -> Candidate:
        for name in ("model.keras", "model.tflite"):
            (folder / name).write_bytes(b"model" * 100_000)
        return Candidate(
            classes=["pallet", "Gabelstapler [gelb]"],
            preprocessing=INPUT,
            metrics=metrics,
            per_class={"pallet": recall, "Gabelstapler [gelb]": {"images": 0}},
            run=12,
            **fields,  # type: ignore[arg-type]
        )

    store.add(build)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A robot's store of three versions, the newest of which was refused."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("HOME", str(tmp_path))
    store = ModelStore(tmp_path / ".ros" / "fl_robot_ros" / "r1" / "models")
    add(store, 0.385, round=345)
    add(store, 0.433, 0.385, round=346)
    add(store, 0.24, 0.433, round=347, accepted=False, reason="0.240 instead of 0.433")
    return store


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return exit code and output of the command for the robot."""
    capsys.readouterr()
    code = main([*arguments, "--namespace", "r1"])
    output = capsys.readouterr()
    return code, output.out + output.err


def test_the_list_fits_a_terminal_and_says_what_holds(
    store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.rollback("drove into a shelf")
    (store.models_dir / "v00002" / "manifest.json").write_text('{"schema_version": 3}')
    code, text = say(capsys, "list")
    assert code == 0
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(" v0")}
    assert rows["v00001"].split()[1:5] == ["current", "12/345", "0.385", "accepted"]
    assert "unreadable" in rows["v00002"]
    assert "0.433 -> 0.240 refused" in rows["v00003"]
    assert all(len(row) <= WIDTH and "…" not in row for row in rows.values())
    assert "v00002: " in text
    assert "made by a newer program" in text
    assert "v00002 was rolled back: drove into a shelf; only a better version" in text


def test_json_has_all_that_there_is(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.pin("v00002", "the fair")
    listed = json.loads(say(capsys, "list", "--json")[1])
    assert (listed["models"], listed["current"]) == (str(store.models_dir), "v00002")
    assert listed["hold"] == {"kind": "pinned", "version": "v00002", "reason": "the fair"}
    verdicts = [(item["version"], item["verdict"]) for item in listed["versions"]]
    assert verdicts == [("v00001", "accepted"), ("v00002", "accepted"), ("v00003", "refused")]
    shown = json.loads(say(capsys, "show", "v00003", "--json")[1])
    assert shown == listed["versions"][2]
    assert Manifest(**shown["manifest"]) == Manifest.load(store.folder("v00003"))


def test_show_tells_all_about_a_version(
    store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = say(capsys, "show")
    assert code == 0
    assert "v00002, current" in text
    code, text = say(capsys, "show", "v00003")
    words = " ".join(text.split())
    for part in (
        "verdict refused: 0.240 instead of 0.433",
        "accuracy 0.433 -> 0.240 of 57 images held out",
        "latency ms 0.31",
        "origin run 12, round 347",
        "input 24x32 px grey, scale 1",
        "pallet 30 0.433 0.240 -0.193",
        "Gabelstapler [gelb] 0",
    ):
        assert part in words
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_person_goes_back_and_forward(
    store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    def current() -> str:
        folder = store.current()
        return folder.name if folder else ""

    code, text = say(capsys, "rollback", "--reason", "drove into a shelf")
    assert (code, current(), str(store.hold())) == (
        0,
        "v00001",
        "v00002 was rolled back: drove into a shelf",
    )
    assert "'fl_model use v00002' goes forward again" in text
    code, text = say(capsys, "use", "v00002")
    assert (code, current(), store.hold()) == (0, "v00002", None)
    code, text = say(capsys, "pin", "--reason", "the fair")
    assert (code, current(), str(store.hold())) == (0, "v00002", "v00002 is pinned: the fair")
    code, text = say(capsys, "rollback")
    assert (code, current()) == (1, "v00002")
    assert text.startswith("fl_model: v00002 is pinned: the fair; 'fl_model unpin'")
    assert say(capsys, "pin", "v00003")[0] == 0
    code, text = say(capsys, "unpin")
    assert (code, current(), store.hold()) == (0, "v00003", None)
    assert "ended: v00003 is pinned" in text
    assert "nothing was pinned" in say(capsys, "unpin")[1]


def test_verify_finds_what_was_changed(
    store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = say(capsys, "verify")
    assert (code, text.count("2 files as the manifest says")) == (0, 3)
    (store.models_dir / "v00003" / "model.tflite").write_bytes(b"other")
    assert say(capsys, "verify", "v00001", "v00002")[0] == 0
    code, text = say(capsys, "verify")
    assert code == 1
    assert "model.tflite is damaged or was exchanged" in text
    code, text = say(capsys, "verify", "--enrolment", str(store.models_dir / "absent.json"))
    assert code == 1
    assert "absent.json" in text


def test_a_version_is_exported_whole_or_not_at_all(
    store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("export", "--layout", "plain", "v00002", str(tmp_path / "out"))
    (tmp_path / "out" / ".staging-v00002").mkdir(parents=True)  # Of an export that was killed.
    code, text = say(capsys, *command)
    assert code == 0
    assert text == f"v00002 is in {tmp_path / 'out' / 'v00002'}\n"
    copy = tmp_path / "out" / "v00002"
    Manifest.load(copy).verify(copy)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["v00002"]
    code, text = say(capsys, *command)
    assert code == 1
    assert "v00002 already" in text
    (store.models_dir / "v00001" / "model.keras").unlink()
    code, text = say(capsys, "export", "--layout", "plain", "v00001", str(tmp_path / "out"))
    assert (code, "cannot read" in text) == (1, True)


def test_a_robot_without_models_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--models", str(tmp_path / "absent")]) == 1
    assert "there are no models in" in capsys.readouterr().err
    (tmp_path / "models").mkdir()
    assert main(["list", "--models", str(tmp_path / "models")]) == 0
    assert "no version is current" in capsys.readouterr().out
    assert main(["show", "--models", str(tmp_path / "models")]) == 1
