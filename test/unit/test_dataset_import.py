"""The command `fl_dataset import`, on real recordings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import START_NS, Item, drive, images_of, record
from dataset_command import counts, filled, jpeg, run

from fl_robot_ros.cli.client_params import read_capture_settings
from fl_robot_ros.config import ClientSettings

Output = pytest.CaptureFixture[str]


def test_images_are_imported_once(tmp_path: Path, capsys: Output) -> None:
    source = tmp_path / "photos"
    (source / "cat").mkdir(parents=True)
    (source / "cat" / "1.jpg").write_bytes(jpeg(1))
    (source / "2.jpg").write_bytes(jpeg(2))
    data = tmp_path / "data"
    assert run("import", data, source) == 0
    assert "2 new images: to be labelled 1, cat 1" in capsys.readouterr().out
    assert run("import", data, source, "--label", "dog") == 0
    output = capsys.readouterr().out
    assert "0 new images, 1 image of the review pool labelled: dog 1, 1 stored already" in output
    assert counts(data) == {"cat": 1, "dog": 1}
    assert run("import", tmp_path / "other", source, "--label", "dog") == 0
    assert counts(tmp_path / "other") == {"cat": 1, "dog": 1}


def test_images_that_have_another_label_already_are_named(tmp_path: Path, capsys: Output) -> None:
    source = tmp_path / "photos"
    for folder, number in (("cat", 1), ("cat", 2), ("dog", 2), ("unlabelled", 1), ("elk", 3)):
        (source / folder).mkdir(parents=True, exist_ok=True)
        (source / folder / f"{number}.jpg").write_bytes(jpeg(number))
    told = "stored already with another label, which stays (see label --all): "
    assert run("import", tmp_path / "data", source) == 0
    assert f"{told}1\n  dog/2.jpg: cat\n" in capsys.readouterr().out
    # Whoever sorts the folder anew does not sort the dataset.
    (source / "elk" / "3.jpg").rename(source / "dog" / "3.jpg")
    (source / "cat" / "1.jpg").unlink()
    assert run("import", tmp_path / "data", source) == 0
    output = capsys.readouterr().out
    assert "0 new images, 4 stored already" in output
    assert f"{told}2\n  dog/2.jpg: cat\n  dog/3.jpg: elk\n" in output
    assert counts(tmp_path / "data") == {"cat": 2, "elk": 1}


def test_splits_are_told_and_their_folders_are_no_labels(tmp_path: Path, capsys: Output) -> None:
    source = tmp_path / "set"
    for number, folder in enumerate(("train/cat", "train/dog", "valid/cat", "test/dog")):
        (source / folder).mkdir(parents=True)
        (source / folder / f"{number}.jpeg_large").write_bytes(jpeg(number))
    (source / "README.txt").write_text("what this is")
    assert run("import", tmp_path / "data", source) == 0
    assert capsys.readouterr().out == (
        f"{source}: 4 new images: cat 2, dog 2\n"
        "  split folders train, valid, test, with class folders in them\n"
        "  all splits are imported; each run chooses its own holdout\n"
        "  left out: README.txt: no image\n"
    )
    assert counts(tmp_path / "data") == {"cat": 2, "dog": 2}


def test_images_that_cannot_be_read_are_counted_and_named(tmp_path: Path, capsys: Output) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    (source / "good.jpg").write_bytes(jpeg(1))
    for number in range(25):
        (source / f"bad{number:02d}\x1b[2J[red].jpg").write_bytes(b"no image")
    (source / os.fsdecode(b"not-utf8-\xff.jpg")).write_bytes(b"no image")
    assert run("import", tmp_path / "data", source) == 1
    output = capsys.readouterr().out
    assert "files that were left out: 26" in output
    assert "bad00\\x1b[2J[red].jpg: " in output
    assert "and 6 more" in output
    assert "\x1b" not in output
    assert counts(tmp_path / "data") == {"": 1}


def test_a_bag_is_imported_with_its_labels(tmp_path: Path, capsys: Output) -> None:
    record(tmp_path / "drive", drive(30, ("cat", "dog")))
    data = tmp_path / "data"
    assert run("import", data, tmp_path / "drive", "--rate", "100") == 0
    assert "30 frames from /camera/image_raw" in capsys.readouterr().out
    assert counts(data) == {"cat": 15, "dog": 15}
    assert run("import", data, tmp_path / "drive", "--rate", "100") == 0
    assert "30 already stored" in capsys.readouterr().out

    labels = tmp_path / "labels.csv"
    labels.write_text("start,end,label\n1699999999,1700000000.95,\n1700000000.95,1700000100,owl\n")
    other = tmp_path / "other"
    command: list[str | Path] = [
        tmp_path / "drive",
        "--labels",
        labels,
        "--topics",
        "camera/image_raw",
    ]
    assert run("import", other, *command, "--rate", "100") == 0
    assert counts(other) == {"owl": 20, "": 10}


def params_file(path: Path, text: str) -> Path:
    """Write a parameter file whose settings are lines of text."""
    lines = [f"    {line.strip()}" for line in text.strip().splitlines()]
    path.write_text("\n".join(["/**:", "  ros__parameters:", *lines]))
    return path


def images(path: Path, label: str) -> list[np.ndarray[Any, Any]]:
    found = [cv2.imread(str(file)) for file in sorted((path / label).glob("*.jpg"))]
    return [image for image in found if image is not None]


def test_topics_that_a_bag_lacks_are_named(tmp_path: Path, capsys: Output) -> None:
    data = tmp_path / "data"
    drives = [drive(frames=4, topic=topic) for topic in ("/front/image", "/rear/image")]
    bag = record(tmp_path / "bag", [item for items in drives for item in items]).parent
    assert run("import", data, bag, "--topics", "frnt/image") == 1
    error = capsys.readouterr().err
    assert "no topic frnt/image; its image topics are /front/image, /rear/image" in error
    assert not data.exists()
    assert run("import", data, "--topics", "front/image,left", bag / "metadata.yaml") == 0
    output = capsys.readouterr().out
    assert "4 frames from /front/image" in output
    assert "has no frame of left" in output
    assert run("import", data, "--topics", "front/image", "--topics", "rear/image", bag) == 0
    assert "8 frames from /front/image, /rear/image" in capsys.readouterr().out


def test_what_cannot_be_imported_does_not_keep_the_rest_out(
    tmp_path: Path, capsys: Output
) -> None:
    data = tmp_path / "data"
    (tmp_path / "empty").mkdir()
    bag = record(tmp_path / "bag", drive(frames=4)).parent
    (bag / "labels.csv").write_text("start,end,label\n0,100,owl\n")
    assert run("import", data, tmp_path / "empty", bag, "--rate", "100") == 1
    output = capsys.readouterr()
    assert "there is no image in" in output.err
    assert f"labels by time from {bag / 'labels.csv'}" in output.out
    assert counts(data) == {"owl": 4}


def test_a_first_import_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    record(tmp_path / "misread", drive(frames=4))
    (tmp_path / "misread" / "labels.csv").write_text("start,end\n")
    record(tmp_path / "drive", drive(frames=4))
    dark = params_file(tmp_path / "dark.yaml", "min_brightness: 255.0")
    before = sorted(tmp_path.iterdir())
    data = tmp_path / "robot" / "dataset"
    for code, *command in (
        (1, tmp_path / "empty"),
        (1, tmp_path / "broken.mcap"),
        (1, tmp_path / "misread"),
        (1, tmp_path / "empty", tmp_path / "misread"),
        (0, tmp_path / "drive", "--params", dark),
    ):
        assert run("import", data, *map(str, command)) == code, command
        assert sorted(tmp_path.iterdir()) == before
    # What was there before stays.
    filled(data)
    assert run("import", data, tmp_path / "empty") == 1
    assert run("info", data) == 0


def test_a_bag_is_imported_as_a_client_would(tmp_path: Path, capsys: Output) -> None:
    front = drive(20, topic="/r1/camera/image_raw/compressed", compressed=True)
    record(tmp_path / "drive", images_of([*front, *drive(20, topic="/rear")]))
    client = params_file(
        tmp_path / "client.yaml",
        """
        data_dir: "/nowhere"
        use_sim_time: false
        image_topics: ["camera/image_raw/compressed"]
        sample_rate_hz: 5
        privacy_masks: ["camera/image_raw: 0,0.5 1,0.5 1,1 0,1"]
        topic_labels: ["camera/image_raw: pallet"]
        bag_paths: [""]
        """,
    )
    data = tmp_path / "data"
    assert run("import", data, tmp_path / "drive", "--params", client) == 0
    output = capsys.readouterr().out
    assert "20 frames from /r1/camera/image_raw/compressed" in output
    assert "warning" not in output
    assert counts(data) == {"pallet": 10}
    for image in images(data, "pallet"):
        assert image[16:].max() < 8
        assert image[:11].max() > 20

    # Options go before the file, and without it nothing is masked.
    more = ["--topics", "rear", "--rate", "100"]
    assert run("import", data, tmp_path / "drive", *more, "--params", client) == 0
    output = capsys.readouterr().out
    assert "privacy_masks names camera/image_raw, which is none of image_topics (rear)" in output
    assert counts(data) == {"pallet": 10, "": 20}
    assert run("import", tmp_path / "plain", tmp_path / "drive") == 0
    for image in images(tmp_path / "plain", ".review"):
        assert image[16:].max() > 20


def test_hold_lookback_and_limits_of_a_client_apply_to_a_bag(tmp_path: Path) -> None:
    record(tmp_path / "drive", drive(20, ("cat",)))
    late = Item("/fl/label", START_NS + 15 * 10**8 - 10**6, "dog")
    record(tmp_path / "late", [*images_of(drive(20)), late])
    hold = params_file(tmp_path / "hold.yaml", "label_hold_sec: 0.3\nsample_rate_hz: 100.0")
    back = params_file(tmp_path / "back.yaml", "label_lookback_sec: 0.2\nsample_rate_hz: 100.0")
    dark = params_file(tmp_path / "dark.yaml", "min_brightness: 255.0\nimage_topics: ['']")
    assert run("import", tmp_path / "1", tmp_path / "drive", "--params", hold) == 0
    assert counts(tmp_path / "1")["cat"] == 3
    assert run("import", tmp_path / "2", tmp_path / "late", "--params", back) == 0
    assert counts(tmp_path / "2")["dog"] == 7
    assert run("import", tmp_path / "3", tmp_path / "late", "--params", dark) == 0
    assert counts(tmp_path / "3") == {}


def test_the_clients_part_of_a_parameter_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        """
        /**: {ros__parameters: {jpeg_quality: 1, label_hold_sec: 2}}
        fl_perception: {ros__parameters: {image_topics: [other], jpeg_quality: 2}}
        robot1:
          fl_client: {ros__parameters: {jpeg_quality: 3, qos_overrides.x: 1}}
        """
    )
    assert read_capture_settings(path) == ClientSettings(jpeg_quality=3, label_hold_sec=2.0)
    default = Path(__file__).parents[2] / "config" / "client.yaml"
    assert read_capture_settings(default) == ClientSettings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no parameters of fl_client"),
        ("[1]", "has no parameters of fl_client"),
        ("fl_server: {ros__parameters: {port: 1}}", "has no parameters of fl_client"),
        ("/**: {ros__parameters: {privacy_mask: [a]}}", "unknown setting 'privacy_mask'"),
        ("/**: {ros__parameters: {privacy_masks: a}}", "privacy_masks is 'a'; expected a list"),
        ("/**: {ros__parameters: {sample_rate_hz: 0}}", "sample_rate_hz is 0.0; expected"),
        (
            "a: {fl_client: {ros__parameters: {}}}\n/b/fl_client: {ros__parameters: {}}",
            "several clients (/a/fl_client, /b/fl_client)",
        ),
        ("{", "is not YAML"),
        ("/**: 2024-13-45", "is not YAML"),
    ],
)
def test_a_wrong_parameter_file_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: Output, content: str, message: str
) -> None:
    record(tmp_path / "drive", drive(4))
    (tmp_path / "params.yaml").write_text(content)
    command = [tmp_path / "drive", "--params", tmp_path / "params.yaml"]
    assert run("import", tmp_path / "data", *command) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "data").exists()


def test_an_interrupt_is_exit_code_130_and_leaves_a_sound_dataset(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    content = bytes(cv2.imencode(".jpg", image)[1])
    for number in range(200):
        # Bytes after the end of a JPEG make each file another one.
        (source / f"{number}.jpg").write_bytes(content + number.to_bytes(2, "big"))
    data = tmp_path / "data"
    command = [sys.executable, "-m", "fl_robot_ros.cli.dataset", "import", str(source)]
    child = subprocess.Popen(
        [*command, "--dataset", str(data)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A job in the background inherits that interrupts are ignored; a person's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while not list(data.glob(".review/*.jpg")):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130
    assert errors.decode().strip() == "fl_dataset: interrupted; completed work is kept"
    assert run("check", data) == 0
    assert 0 < counts(data)[""] < 200


def test_a_bag_and_its_metadata_are_looked_at_once(tmp_path: Path, capsys: Output) -> None:
    bag = tmp_path / "bag"
    record(bag, drive(4))
    labels = bag / "bag.mcap.labels.csv"
    labels.write_text("start,end,label\n0,9,pallet\n")
    looks: list[tuple[str, str]] = []
    is_watched = [True]

    def note(event: str, args: tuple[Any, ...]) -> None:
        if is_watched[0] and event in ("open", "os.listdir", "os.scandir"):
            looks.append((event, str(args[0])))

    # An audit hook stays until Python ends.
    sys.addaudithook(note)
    try:
        assert run("import", tmp_path / "data", bag) == 0
    finally:
        is_watched[0] = False
    assert "labels by time from" in capsys.readouterr().out
    assert looks.count(("open", str(bag / "metadata.yaml"))) == 1
    assert looks.count(("open", str(labels))) == 1
    # To tell a bag from a folder of images, and to find its files.
    assert sum(path == str(bag) for event, path in looks if event != "open") == 2
