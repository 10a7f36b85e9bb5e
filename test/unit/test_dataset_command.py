"""The command `fl_dataset`, on real datasets."""

from __future__ import annotations

import json
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
from bag_recorder import START_NS, Item, drive, pictures_of, record

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.cli.client_params import read_capture_settings
from fl_robot_ros.cli.dataset import main
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.dataset.store import Dataset

Output = pytest.CaptureFixture[str]


def jpeg(seed: int) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", picture)[1])


def filled(path: Path, *labels: str) -> Path:
    """Make a dataset with one sample a second of these labels; return its folder."""
    with Dataset(path) as dataset:
        dataset.add(
            [
                NewSample(label, "/camera", START_NS + number * 10**9, jpeg(number), 16, 12)
                for number, label in enumerate(labels)
            ]
        )
    return path


def run(command: str, dataset: Path, *arguments: str | Path) -> int:
    return main([command, "--dataset", str(dataset), *map(str, arguments)])


def counts(path: Path) -> dict[str, int]:
    """Return the number of samples by label, "" for the review pool."""
    with Dataset(path) as dataset:
        pool = {"": dataset.num_unlabelled()} if dataset.num_unlabelled() else {}
        return {**dataset.counts(), **pool}


def test_info_shows_labels_cameras_times_and_space(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "robot" / "dataset", "cat", "cat", "[red]50%[/]", "")
    assert main(["info", "--data-dir", str(tmp_path / "robot")]) == 0
    output = capsys.readouterr().out
    for text in ("cat", "66.7%", "[red]50%[/]", "/camera", "2023-11-14", "to be labelled"):
        assert text in output
    assert "3 labelled images with 2 labels, 1 to be labelled" in output
    assert "free on the disk" in output

    assert run("info", data, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labelled_images"] == 3
    assert found["unlabelled"]["images"] == 1
    (odd, cat) = found["labels"]
    assert odd["label"] == "[red]50%[/]"
    assert cat == {
        "label": "cat",
        "share": 0.666667,
        "images": 2,
        "size_bytes": len(jpeg(0)) + len(jpeg(1)),
        "first_ns": START_NS,
        "last_ns": START_NS + 10**9,
        "first": "2023-11-14T22:13:20Z",
        "last": "2023-11-14T22:13:21Z",
        "cameras": ["/camera"],
    }
    assert found["free_bytes"] > 0


def test_info_of_an_empty_dataset(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data")
    assert run("info", data) == 0
    assert run("info", data, "--json") == 0
    assert '"labels": []' in capsys.readouterr().out


def test_check_finds_and_repairs(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", "cat", "dog", "")
    assert run("check", data) == 0
    assert "4 samples checked, all is well" in capsys.readouterr().out
    broken, gone = sorted((data / "cat").iterdir())
    gone.unlink()
    broken.write_bytes(b"no picture")
    (data / "dog" / "77_0123abcd.jpg").write_bytes(jpeg(77))
    assert run("check", data) == 1
    output = capsys.readouterr().out
    assert f"files that are gone: 1\n  cat/{gone.name}" in output
    assert f"files that are broken: 1\n  cat/{broken.name}" in output
    assert "pictures that the index does not know: 1\n  dog/77_0123abcd.jpg" in output
    assert "--repair" in output
    assert run("check", data, "--repair") == 0
    assert "repaired" in capsys.readouterr().out
    assert run("check", data) == 0
    assert counts(data) == {"dog": 2, "": 1}


def test_what_cannot_be_repaired_is_exit_code_1(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat")
    (data / "no%label\x1b[31m").mkdir()
    (data / "no%label\x1b[31m" / "7_0123abcd.jpg").write_bytes(jpeg(7))
    assert run("check", data, "--repair") == 1
    output = capsys.readouterr().out
    assert "what could not be repaired: 1\n  no%label\\x1b[31m/7_0123abcd.jpg" in output


def test_a_lost_index_is_made_anew_by_a_repair_alone(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", "dog", "")
    for item in data.glob("index.sqlite3*"):
        item.unlink()
    assert run("check", data) == 1
    assert "fl_dataset check --repair" in capsys.readouterr().err
    assert run("check", data, "--repair") == 0
    assert counts(data) == {"cat": 1, "dog": 1, "": 1}


def test_a_check_offers_a_repair_only_for_what_it_mends(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", "dog")
    (copied,) = (data / "cat").iterdir()
    (data / "dog" / copied.name).write_bytes(copied.read_bytes())
    (data / "no%label").mkdir()
    (data / "no%label" / "7_0123abcd.jpg").write_bytes(jpeg(7))
    for arguments in ([], ["--repair"], []):
        assert run("check", data, *arguments) == 1
        output = capsys.readouterr().out
        assert f": 2\n  dog/{copied.name}\n  no%label/7_0123abcd.jpg" in output
        assert "--repair` mends" not in output
    # With the sample gone, what was its copy can take its place.
    copied.unlink()
    assert run("check", data) == 1
    output = capsys.readouterr().out
    assert "what a repair cannot mend (see `check --help`): 1\n  no%label/" in output
    assert "`fl_dataset check --repair` mends the rest" in output
    assert run("check", data, "--repair") == 1
    assert counts(data) == {"dog": 2}


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_repair_is_refused_while_somebody_has_the_dataset(
    tmp_path: Path, capsys: Output, is_lost: bool
) -> None:
    data = filled(tmp_path / "data", "cat")
    with Dataset(data):
        if is_lost:
            for item in data.glob("index.sqlite3*"):
                item.unlink()
        (data / "cat" / "77_0123abcd.jpg").write_bytes(jpeg(77))
        assert run("check", data, "--repair") == 1
        assert "open in another process" in capsys.readouterr().err
        assert (data / "index.sqlite3").exists() != is_lost
        if not is_lost:
            assert run("check", data) == 1
            assert run("info", data) == 0
    assert run("check", data, "--repair") == 0


def test_pictures_are_imported_once(tmp_path: Path, capsys: Output) -> None:
    source = tmp_path / "photos"
    (source / "cat").mkdir(parents=True)
    (source / "cat" / "1.jpg").write_bytes(jpeg(1))
    (source / "2.jpg").write_bytes(jpeg(2))
    data = tmp_path / "data"
    assert run("import", data, source) == 0
    assert "2 new images: to be labelled 1, cat 1" in capsys.readouterr().out
    assert run("import", data, source, "--label", "dog") == 0
    assert "0 new images, 2 there already" in capsys.readouterr().out
    assert counts(data) == {"cat": 1, "": 1}
    assert run("import", tmp_path / "other", source, "--label", "dog") == 0
    assert counts(tmp_path / "other") == {"cat": 1, "dog": 1}


def test_pictures_that_cannot_be_read_are_counted_and_named(
    tmp_path: Path, capsys: Output
) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    (source / "good.jpg").write_bytes(jpeg(1))
    for number in range(25):
        (source / f"bad{number:02d}\x1b[2J[red].jpg").write_bytes(b"no picture")
    (source / os.fsdecode(b"not-utf8-\xff.jpg")).write_bytes(b"no picture")
    assert run("import", tmp_path / "data", source) == 1
    output = capsys.readouterr().out
    assert "files that were not taken: 26" in output
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


def pictures(path: Path, label: str) -> list[np.ndarray[Any, Any]]:
    found = [cv2.imread(str(file)) for file in sorted((path / label).glob("*.jpg"))]
    return [picture for picture in found if picture is not None]


def test_topics_that_a_bag_lacks_are_named(tmp_path: Path, capsys: Output) -> None:
    data = tmp_path / "data"
    drives = [drive(frames=4, topic=topic) for topic in ("/front/image", "/rear/image")]
    bag = record(tmp_path / "bag", [item for items in drives for item in items]).parent
    assert run("import", data, bag, "--topics", "frnt/image") == 1
    error = capsys.readouterr().err
    assert "no topic frnt/image; its image topics are /front/image, /rear/image" in error
    assert counts(data) == {}
    assert run("import", data, bag / "metadata.yaml", "--topics", "front/image", "left") == 0
    output = capsys.readouterr().out
    assert "4 frames from /front/image" in output
    assert "has no frame of left" in output


def test_what_cannot_be_imported_does_not_keep_the_rest_out(
    tmp_path: Path, capsys: Output
) -> None:
    data = tmp_path / "data"
    (tmp_path / "empty").mkdir()
    bag = record(tmp_path / "bag", drive(frames=4)).parent
    (bag / "labels.csv").write_text("start,end,label\n0,100,owl\n")
    assert run("import", data, tmp_path / "empty", bag, "--rate", "100") == 1
    output = capsys.readouterr()
    assert "there is no picture in" in output.err
    assert f"labels by time from {bag / 'labels.csv'}" in output.out
    assert counts(data) == {"owl": 4}


def test_a_bag_is_imported_as_a_client_would(tmp_path: Path, capsys: Output) -> None:
    front = drive(20, topic="/r1/camera/image_raw/compressed", compressed=True)
    record(tmp_path / "drive", pictures_of([*front, *drive(20, topic="/rear")]))
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
    for picture in pictures(data, "pallet"):
        assert picture[16:].max() < 8
        assert picture[:11].max() > 20

    # Options go before the file, and without it nothing is masked.
    more = ["--topics", "rear", "--rate", "100"]
    assert run("import", data, tmp_path / "drive", *more, "--params", client) == 0
    output = capsys.readouterr().out
    assert "privacy_masks names camera/image_raw, which is none of image_topics (rear)" in output
    assert counts(data) == {"pallet": 10, "": 20}
    assert run("import", tmp_path / "plain", tmp_path / "drive") == 0
    for picture in pictures(tmp_path / "plain", ".review"):
        assert picture[16:].max() > 20


def test_hold_lookback_and_limits_of_a_client_apply_to_a_bag(tmp_path: Path) -> None:
    record(tmp_path / "drive", drive(20, ("cat",)))
    late = Item("/fl/label", START_NS + 15 * 10**8 - 10**6, "dog")
    record(tmp_path / "late", [*pictures_of(drive(20)), late])
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
        fl_perception: {ros__parameters: {image_topic: other, jpeg_quality: 2}}
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


def test_an_export_is_imported_as_it_was(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", "\u6258\u76d8", "", "")
    assert run("export", data, "--to", tmp_path / "out", "--unlabelled") == 0
    assert "4 images exported" in capsys.readouterr().out
    assert run("import", tmp_path / "back", tmp_path / "out") == 0
    with Dataset(data) as before, Dataset(tmp_path / "back") as after:
        for read in (Dataset.samples, Dataset.unlabelled):
            wanted = [item._replace(id=0) for item in read(before)]
            assert sorted(item._replace(id=0) for item in read(after)) == sorted(wanted)
    assert run("export", data, "--to", tmp_path / "tf", "--format", "tfrecord") == 0
    assert [path.name for path in (tmp_path / "tf").glob("*.tfrecord")] == [
        "samples-00000-of-00001.tfrecord"
    ]
    next((data / "cat").iterdir()).unlink()
    assert run("export", data, "--to", tmp_path / "less") == 1
    assert "images left out" in capsys.readouterr().out


def test_labels_are_given_in_every_way(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", *[""] * 9)
    assert run("label", data, "--id", "1-3", "--as", " dog ") == 0
    output = capsys.readouterr().out
    assert "2 samples changed: dog 2" in output
    assert "1 have another label and were left alone; see --all" in output
    times = ["--from-time", str(START_NS // 10**9 + 3), "--to-time", "2023-11-14T22:13:25Z"]
    assert run("label", data, *times, "--topic", "camera", "--as", "owl") == 0
    assert counts(data) == {"cat": 1, "dog": 2, "owl": 2, "": 5}
    (tmp_path / "labels.csv").write_text("id,label\n1,fox\n6,fox\n")
    assert run("label", data, "--csv", tmp_path / "labels.csv", "--all") == 0
    assert counts(data) == {"dog": 2, "fox": 2, "owl": 2, "": 4}
    assert run("label", data, "--id", "1", "--as", "", "--all") == 0
    capsys.readouterr()
    assert run("label", data, "--id", "999", "--as", "x") == 1
    assert "no sample fits" in capsys.readouterr().out

    out = tmp_path / "out"
    assert run("export", data, "--to", out, "--unlabelled") == 0
    (out / "unlabelled").rename(out / "elk")
    assert run("label", data, "--from-folder", out) == 0
    assert "5 samples changed: elk 5" in capsys.readouterr().out
    assert counts(data) == {"dog": 2, "elk": 5, "fox": 1, "owl": 2}
    assert run("check", data) == 0


def test_a_sheet_is_drawn(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", "cat", "\u6258\u76d8", "")
    sheet = tmp_path / "sheet.png"
    assert run("sheet", data, "--out", sheet) == 0
    assert "contact sheet of 2 labels" in capsys.readouterr().out
    whole = cv2.imread(str(sheet))
    assert whole is not None
    assert run("sheet", data, "--out", sheet, "--label", "cat", "--per-label", "1") == 0
    one = cv2.imread(str(sheet))
    assert one is not None
    assert one.shape[0] < whole.shape[0]
    next((data / "cat").iterdir()).write_bytes(b"no picture")
    assert run("sheet", data, "--out", sheet) == 1
    assert "pictures that cannot be read: 1\n  cat/" in capsys.readouterr().out


def test_bad_input_gets_one_line_and_exit_code_1(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("text")
    absent, file = tmp_path / "absent", tmp_path / "file.txt"
    for command, dataset, *arguments in (
        ("info", absent),
        ("info", tmp_path / "empty"),
        ("info", file),
        ("check", absent),
        ("check", absent, "--repair"),
        ("sheet", data, "--out", absent / "sheet.png"),
        ("sheet", data, "--out", tmp_path / "s.png", "--label", "dog"),
        ("export", data, "--to", data / "out"),
        ("export", data, "--to", tmp_path),
        ("export", data, "--to", file),
        ("import", absent, absent),
        ("import", absent, file),
        ("import", absent, tmp_path / "empty", "--labels", file),
        ("import", absent, tmp_path / "empty", "--label", "a\nb"),
        ("import", absent, tmp_path / "empty", "--params", file),
        ("label", data, "--id", "x", "--as", "dog"),
        ("label", data, "--id", "1", "--as", "x" * 99),
        ("label", data, "--from-time", "noon", "--as", "dog"),
        ("label", data, "--csv", file),
        ("label", data, "--from-folder", tmp_path / "empty"),
        ("label", absent, "--id", "1", "--as", "dog"),
    ):
        assert run(str(command), Path(dataset), *arguments) == 1, (command, arguments)
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("fl_dataset: ")
    assert not absent.exists()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "info --dataset a --data-dir b",
        "import",
        "import x --rate 0",
        "import x --rate nan",
        "sheet",
        "sheet --out x --per-label 0",
        "export --to x --format zip",
        "label",
        "label --id 1",
        "label --as dog",
        "label --id 1 --csv x --as dog",
        "label --csv x --as dog",
        "label --id 1 --as dog --topic camera",
    ],
)
def test_a_wrong_command_line_is_exit_code_2(line: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(line.split())
    assert exit_.value.code == 2


@pytest.mark.parametrize("command", ["info", "check", "import", "export", "label", "sheet"])
def test_every_command_has_its_help(command: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert "--data-dir" in capsys.readouterr().out


def test_help_lists_commands_examples_and_exit_codes() -> None:
    command = [sys.executable, "-m", "fl_robot_ros.cli.dataset", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    for word in ("import", "sheet", "examples:", "exit code", "--data-dir"):
        assert word in done.stdout


def test_it_loads_neither_tensorflow_nor_flower_nor_rosbags() -> None:
    program = (
        "import sys, fl_robot_ros.cli.dataset\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"tensorflow", "keras", "flwr", "rosbags"} & set(done.stdout.split())


def test_an_interrupt_is_exit_code_130_and_leaves_a_sound_dataset(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    content = bytes(cv2.imencode(".jpg", picture)[1])
    for number in range(400):
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
    assert errors.decode().strip() == "fl_dataset: interrupted; what was done stays done"
    assert run("check", data) == 0
    assert 0 < counts(data)[""] < 400
