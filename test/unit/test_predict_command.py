import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import START_NS, Item, record
from labelled_images import START_NS as CAPTURED_NS
from numpy.typing import NDArray

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.cli.predict import main
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze

WriteVersion = Callable[..., Path]
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def write_images(folder: Path, counts: dict[str, str]) -> Path:
    """Write one image for each true label: `counts` has the colours by folder."""
    for label, colours in counts.items():
        (folder / label).mkdir(parents=True)
        for index, colour in enumerate(colours.split()):
            bgr = np.full((20, 30, 3), COLOURS[colour][::-1], dtype=np.uint8)
            cv2.imwrite(str(folder / label / f"{index}.png"), bgr)
    return folder


def test_a_folder_gives_a_table_an_accuracy_and_a_sheet(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "images", {"red": "red red blue", "green": "green"})
    (images / "red" / "broken.jpg").write_bytes(b"no image")
    sheet = tmp_path / "sheet.png"
    command = ["--model", str(write_version()), "--images", str(images), "--sheet", str(sheet)]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "accuracy 75.0% (3 of 4), model v00001" in output
    assert "66.7%" in output
    assert "images that could not be read: 1" in output
    assert "red/2.png" in output
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    assert drawn.shape[1] > 4 * 128


def test_split_folders_are_no_labels(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(
        tmp_path / "images",
        {"train/red": "red red", "valid/green": "green", "test": "blue", "unlabelled": "blue"},
    )
    (images / "notes.txt").write_text("no image")
    assert main(["--model", str(write_version()), "--images", str(images)]) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (3 of 3)" in output
    assert "split folders train, valid, test, with class folders in them" in output
    assert "left out: notes.txt: no image" in output
    assert "does not know" not in output


def test_labels_that_the_model_does_not_know_are_no_endless_line(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {f"label {number:03}": "red" for number in range(100)}
    images = write_images(tmp_path / "images", folders)
    assert main(["--model", str(write_version()), "--images", str(images)]) == 0
    output = capsys.readouterr().out
    assert "'label 000' (1), " in output
    assert "'label 007' (1) and 92 more" in output


def test_a_bag_is_compared_with_its_label_topic(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = []
    for index, (label, colour) in enumerate(
        [("red", "red"), ("red", "green"), ("blue", "blue"), ("purple", "blue"), ("", "red")]
    ):
        time_ns = START_NS + index * 100_000_000
        items.append(Item("/robot1/fl/label", time_ns, label))
        image = np.full((20, 30, 3), COLOURS[colour], dtype=np.uint8)
        items.append(Item("/robot1/camera", time_ns + 1, image, compressed=index % 2 == 1))
    items = [
        item if not item.compressed else Item("/robot1/jpeg", item.time_ns, item.content, True)
        for item in items
    ]
    record(tmp_path / "bag", items)
    assert main(["--model", str(write_version()), "--images", str(tmp_path / "bag")]) == 0
    output = capsys.readouterr().out
    assert "accuracy 66.7% (2 of 3)" in output
    assert "labels that the model does not know, and their images: 'purple' (1)" in output


def solid(colour: str) -> NDArray[np.uint8]:
    return np.full((20, 30, 3), COLOURS[colour], dtype=np.uint8)


def two_robots(path: Path, frames: int = 10) -> Path:
    """Record what two robots see, each with labels of its own, published once at the beginning."""
    items = [
        Item("/robot1/fl/label", START_NS - 2, "red"),
        Item("/robot2/fl/label", START_NS - 1, "blue"),
    ]
    for index in range(frames):
        time_ns = START_NS + index * 200_000_000
        items.append(Item("/robot1/camera/image_raw", time_ns, solid("red")))
        items.append(Item("/robot2/camera/image_raw", time_ns + 5, solid("blue")))
    record(path, items)
    return path


def test_each_robots_frames_have_its_own_labels(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = two_robots(tmp_path / "bag")
    command = ["--model", str(write_version()), "--images", str(bag)]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (20 of 20)" in output
    assert (
        "image topics and their images: /robot1/camera/image_raw (10), "
        "/robot2/camera/image_raw (10); see --topics\n" in output
    )
    assert "labels: /robot1/fl/label, /robot2/fl/label\n" in output

    assert main([*command, "--topics", "robot2/camera/image_raw"]) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (10 of 10)" in output
    assert (
        "image topics and their images: /robot2/camera/image_raw (10); not read: "
        "/robot1/camera/image_raw\n" in output
    )
    assert main([*command, "--topics", "lidar"]) == 1
    error = capsys.readouterr().err
    assert "has no topic lidar; its image topics are /robot1/camera/image_raw, /robot2/" in error


@pytest.mark.parametrize("is_beside", [True, False])
def test_a_label_file_goes_before_the_labels_in_the_bag(
    is_beside: bool,
    write_version: WriteVersion,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bag = two_robots(tmp_path / "bag")
    file = bag / "labels.csv" if is_beside else tmp_path / "mine.csv"
    file.write_text("start,end,label,topic\n0,1,green,robot1/camera/image_raw\n")
    command = ["--model", str(write_version()), "--images", str(bag)]
    assert main(command if is_beside else [*command, "--labels", str(file)]) == 0
    output = capsys.readouterr().out
    # Of robot1's frames, which are red, the first second is said to be green.
    assert "accuracy 75.0% (15 of 20)" in output
    assert f"labels: {file}, /robot1/fl/label, /robot2/fl/label\n" in output


def test_a_label_file_of_another_time_is_named(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = two_robots(tmp_path / "bag")
    (bag / "labels.csv").write_text("start,end,label\n100,200,green\n")
    assert main(["--model", str(write_version()), "--images", str(bag)]) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (20 of 20)" in output
    assert "labels.csv has the time of none of these images" in output


def test_the_limit_is_spread_over_a_folder(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(
        tmp_path / "images", {"blue": "blue " * 4, "green": "green " * 4, "red": "red " * 4}
    )
    model = str(write_version())
    assert main(["--model", model, "--images", str(images), "--limit", "3"]) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (3 of 3)" in output
    for label in COLOURS:
        assert f" {label}/" in output


def test_the_limit_is_spread_over_a_bag(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = two_robots(tmp_path / "bag")
    command = ["--model", str(write_version()), "--images", str(bag), "--limit", "8", "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"]["predicted"] == 8
    assert "a sample: 8 of 20 images, evenly over time" in document["images"]["notes"]
    names = [item["image"] for item in document["predictions"]]
    assert {name.split()[0] for name in names} == {
        "/robot1/camera/image_raw",
        "/robot2/camera/image_raw",
    }
    assert int(names[-1].partition("#")[2]) >= 8


def test_a_single_image_is_predicted(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_images(tmp_path / "images", {"red": "red"}) / "red" / "0.png"
    assert main(["--model", str(write_version()), "--images", str(image)]) == 0
    output = capsys.readouterr().out
    assert "0.png" in output
    assert "no labels to compare with, model v00001" in output


def robots_dataset(data_dir: Path) -> Path:
    """Make a dataset of 40 images, red and then green, and the snapshot of a run."""
    with Dataset(data_dir / "dataset") as dataset:
        for number in range(40):
            label = ("red", "green", "")[min(number // 20, 1) if number < 39 else 2]
            colour = COLOURS[label or "blue"][::-1]
            data = bytes(cv2.imencode(".jpg", np.full((12, 16, 3), colour, np.uint8))[1])
            stamp_ns = CAPTURED_NS + number * 1_000_000_000
            dataset.add([NewSample(label, "/camera", stamp_ns, data, 16, 12)])
        snapshot = freeze(dataset, 0.2, 10.0)
    snapshot.save(data_dir / "snapshots" / f"{snapshot.id}.json")
    return data_dir / "dataset"


def test_a_robots_dataset_is_read_by_its_index(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = robots_dataset(tmp_path / "robot")
    command = ["--model", str(write_version()), "--images", str(folder)]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (39 of 39)" in output
    assert "left out: 1 image without a label" in output
    assert main([*command, "--holdout"]) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (8 of 8)" in output
    assert "8 of the 8 images that the run of snapshot 2" in output


def test_two_models_are_shown_side_by_side(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "images", {"red": "red " * 6, "green": "green", "blue": ""})
    command = ["--model", str(write_version()), "--images", str(images), "--compare"]
    # Its outputs are read in another order, so that it is wrong.
    command.append(str(write_version("v00002", classes=["green", "red", "blue"])))
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "accuracy 100.0% (7 of 7), model v00001" in output
    assert "accuracy 0.0% (0 of 7), model v00002" in output
    assert "v00001 gets 7 images right that v00002 gets wrong, and 0 the other way" in output
    assert "Where they disagree: 7 of 7 images" in output
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["compare"]["model"]["version"] == "v00002"
    assert document["compare"]["only_first_right"] == 7
    assert document["compare"]["per_class"]["red"] == {
        "images": 6,
        "recall_first": 1.0,
        "recall_second": 0.0,
    }


def test_confusions_are_shown_and_drawn(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "images", {"red": "red red blue", "green": "green"})
    drawn = tmp_path / "confusion.png"
    command = ["--model", str(write_version()), "--images", str(images)]
    assert main([*command, "--confusion", str(drawn), "--limit", "99"]) == 0
    output = capsys.readouterr().out
    assert output.index("red/2.png") < output.index("red/0.png")  # Mistakes come first.
    assert "Labels (rows) and predictions (columns, alike)" in output
    assert "a sample" not in output
    assert cv2.imread(str(drawn)) is not None
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["confusion"] == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert document["per_class"]["red"]["recall"] == 2 / 3
    assert document["per_class"]["blue"]["recall"] is None


def test_in_a_narrow_terminal_the_commonest_confusions_take_the_place_of_the_matrix(
    write_version: WriteVersion,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    names = ["a label of many letters, 1", "another label of as many", "blue"]
    images = write_images(
        tmp_path / "images", {names[0]: "red green green", names[1]: "red", names[2]: "red"}
    )
    command = ["--model", str(write_version(classes=names)), "--images", str(images)]
    assert main(command) == 0
    assert "columns, alike" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "44")
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "Most confused: 3 of 3 pairs" in " ".join(output.split())
    assert "66.7%" in output


def test_without_labels_there_is_no_accuracy(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "images", {"red": "red red"}) / "red"
    assert main(["--model", str(write_version()), "--images", str(images)]) == 0
    output = capsys.readouterr().out
    assert "accuracy" not in output
    assert "no labels to compare with" in output


def test_bad_input_gets_one_line_and_exit_code_1(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write_version())
    images = str(write_images(tmp_path / "images", {"red": "red"}))
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "bag.mcap").write_text("no bag")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_text("no image")
    for command in (
        ["--model", str(tmp_path / "absent"), "--images", images],
        ["--model", model, "--images", str(tmp_path / "absent")],
        ["--model", model, "--images", str(tmp_path / "file.txt")],
        ["--model", model, "--images", str(tmp_path / "bag.mcap")],
        ["--model", model, "--images", str(tmp_path / "broken")],
        ["--model", model, "--images", images, "--sheet", str(tmp_path / "absent" / "s.png")],
        ["--model", model, "--images", images, "--topics", "camera/image_raw"],
        ["--model", model, "--images", images, "--holdout"],
        ["--model", model, "--images", images, "--compare", str(tmp_path / "absent")],
        ["--model", model, "--images", f"{images}/red", "--confusion", str(tmp_path / "c.png")],
    ):
        assert main(command) == 1, command
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("fl_predict: ")


def test_a_sheet_that_cannot_be_written_leaves_the_older_one(
    write_version: WriteVersion, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    cv2.imwrite(str(images / "1.png"), noise)
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"older")
    command = [sys.executable, "-m", "fl_robot_ros.cli.predict", "--model", str(write_version())]
    done = subprocess.run(
        [*command, "--images", str(images), "--sheet", str(sheet)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # Fails in the midst of the sheet, as a full disk does.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == 1
    assert f"fl_predict: cannot write {sheet}: File too large" in done.stderr
    assert sheet.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "models", "sheet.png"]


def test_names_are_shown_in_printable_characters(
    write_version: WriteVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "images", {"red": "red"})
    (images / "red" / "0.png").rename(images / "red" / "[red]\x1b[2J.png")
    assert main(["--model", str(write_version()), "--images", str(images)]) == 0
    assert "red/[red]\\x1b[2J.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--model", "m"],
        ["--model", "m", "--images", "i", "--limit", "0"],
        ["--model", "m", "--images", ""],
        ["--model", "m", "--images", "i", "--topics", "a,,b"],
        ["--model", "~nobody_/m", "--images", "i"],
        ["--nonsense"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_nothing_but_its_own_words_is_written(write_version: WriteVersion, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", {"red": "red"})
    # libjpeg warns of a file that ends too early, and of what stands behind its end.
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = bytes(cv2.imencode(".jpg", noise)[1])
    (images / "red" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "red" / "odd.jpg").write_bytes(whole[:600] + bytes(20) + whole[620:])
    command = [sys.executable, "-m", "fl_robot_ros.cli.predict", "--model", str(write_version())]
    done = subprocess.run(
        [*command, "--images", str(images)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "accuracy " in done.stdout
    assert done.stderr == ""


def test_help_explains_labels_and_gives_examples() -> None:
    command = [sys.executable, "-m", "fl_robot_ros.cli.predict", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    for word in ("fl/label", "examples:", "exit code", "--sheet", ".mcap"):
        assert word in done.stdout
