"""The command `fl_dataset`, on real datasets; its import is tested beside this."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from bag_recorder import START_NS
from dataset_command import counts, filled, jpeg, run

from fl_robot_ros.cli.dataset import main
from fl_robot_ros.dataset.dataset import Dataset

Output = pytest.CaptureFixture[str]


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
    assert "4 samples checked, all sound" in capsys.readouterr().out
    broken, gone = sorted((data / "cat").iterdir())
    gone.unlink()
    broken.write_bytes(b"no image")
    (data / "dog" / "77_0123abcd.jpg").write_bytes(jpeg(77))
    assert run("check", data) == 1
    output = capsys.readouterr().out
    assert f"missing files: 1\n  cat/{gone.name}" in output
    assert f"broken files: 1\n  cat/{broken.name}" in output
    assert "images that the index lacks: 1\n  dog/77_0123abcd.jpg" in output
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
    assert "not repaired: 1\n  no%label\\x1b[31m/7_0123abcd.jpg" in output


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
    (data / " no label").mkdir()
    (data / " no label" / "7_0123abcd.jpg").write_bytes(jpeg(7))
    for arguments in ([], ["--repair"], []):
        assert run("check", data, *arguments) == 1
        output = capsys.readouterr().out
        assert f": 2\n   no label/7_0123abcd.jpg\n  dog/{copied.name}" in output
        assert "--repair` repairs" not in output
    # With the sample gone, what was its copy can take its place.
    copied.unlink()
    assert run("check", data) == 1
    output = capsys.readouterr().out
    assert "beyond repair (see `check --help`): 1\n   no label/" in output
    assert "`fl_dataset check --repair` repairs the rest" in output
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


def test_an_export_is_imported_as_it_was(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", "\u6258\u76d8", "", "")
    assert run("export", data, "--to", tmp_path / "out", "--unlabelled") == 0
    assert "4 images exported" in capsys.readouterr().out
    assert run("import", tmp_path / "back", tmp_path / "out") == 0
    with Dataset(data) as before, Dataset(tmp_path / "back") as after:
        for read in (Dataset.samples, Dataset.unlabelled):
            wanted = [item._replace(id=0) for item in read(before)]
            assert sorted(item._replace(id=0) for item in read(after)) == sorted(wanted)
    next((data / "cat").iterdir()).unlink()
    assert run("export", data, "--to", tmp_path / "less") == 1
    assert "images left out" in capsys.readouterr().out


def test_labels_are_given_in_every_way(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", *[""] * 9)
    assert run("label", data, "--id", "1-3", "--as", " dog ") == 0
    output = capsys.readouterr().out
    assert "2 samples changed: dog 2" in output
    assert "1 keep another label; see --all" in output
    times = ["--from-time", str(START_NS // 10**9 + 3), "--to-time", "2023-11-14T22:13:25Z"]
    assert run("label", data, *times, "--topic", "camera", "--as", "owl") == 0
    assert counts(data) == {"cat": 1, "dog": 2, "owl": 2, "": 5}
    (tmp_path / "labels.csv").write_text("id,label\n1,fox\n6,fox\n")
    assert run("label", data, "--csv", tmp_path / "labels.csv", "--all") == 0
    assert counts(data) == {"dog": 2, "fox": 2, "owl": 2, "": 4}
    assert run("label", data, "--id", "1", "--as", "", "--all") == 0
    capsys.readouterr()
    out = tmp_path / "out"
    assert run("export", data, "--to", out, "--unlabelled") == 0
    (out / "unlabelled").rename(out / "elk")
    assert run("label", data, "--from-folder", out) == 0
    assert "5 samples changed: elk 5" in capsys.readouterr().out
    assert counts(data) == {"dog": 2, "elk": 5, "fox": 1, "owl": 2}
    assert run("check", data) == 0


def test_ids_that_no_sample_has_are_named(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", *[""] * 9)
    assert run("label", data, "--id", "2,11,3-4,20-30,9-12", "--as", "dog") == 1
    output = capsys.readouterr().out
    assert "5 samples changed: dog 5" in output
    assert "without a sample: 2\n  11\n  20-30\n" in output
    assert counts(data) == {"cat": 1, "dog": 5, "": 4}
    many = ",".join(map(str, range(100, 130)))
    assert run("label", data, "--id", many, "--as", "dog") == 1
    output = capsys.readouterr().out
    assert "without a sample: 30\n  100\n" in output
    assert "and 10 more" in output
    assert "no sample matches" in output


def test_what_a_list_names_that_is_no_sample_is_told(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "cat", *[""] * 9)
    file = tmp_path / "labels.csv"
    file.write_text("id,label\n2,dog\n99,dog\n99,dog\n98,\n")
    assert run("label", data, "--csv", file) == 1
    output = capsys.readouterr().out
    assert "1 sample changed: dog 1\n" in output
    assert "without a sample: 1\n  line 3: id 99\n" in output
    out = tmp_path / "out"
    assert run("export", data, "--to", out, "--unlabelled") == 0
    # As somebody returns it who sorted the files on Windows.
    rows = (out / "samples.csv").read_text().replace("unlabelled/", "C:\\sorted\\")
    file.write_text(rows.replace(",,", ",owl,"))
    assert run("label", data, "--csv", file) == 0
    assert counts(data) == {"cat": 1, "dog": 1, "owl": 8}
    for path in (out / "unlabelled").iterdir():
        path.rename(path.with_name("2" + path.name[1:]))
    (out / "unlabelled").rename(out / "elk")
    assert run("label", data, "--from-folder", out, "--all") == 1
    output = capsys.readouterr().out
    assert "without a sample: 8\n  elk/2" in output


def test_a_labelling_tools_list_is_taken_as_it_is(tmp_path: Path, capsys: Output) -> None:
    data = filled(tmp_path / "data", "", "", "")
    with Dataset(data) as dataset:
        names = [sample.path.rpartition("/")[2] for sample in dataset.unlabelled()]
    file = tmp_path / "labels.csv"
    rows = [f"/data/upload/1/0123abcd-{name},{3 - n},{n}\n" for n, name in enumerate(names)]
    file.write_text("image,id,label\n" + "".join(rows))
    assert run("label", data, "--csv", file) == 0
    assert capsys.readouterr().out == (
        "images by image, labels by label; not used: id\n3 samples changed: 0 1, 1 1, 2 1\n"
    )
    with Dataset(data) as dataset:
        assert {item.path.rpartition("/")[2]: item.label for item in dataset.samples()} == {
            name: str(number) for number, name in enumerate(names)
        }
    # What contradicts itself changes nothing.
    before = counts(data)
    for line, words in (
        (f"1,{names[1]},owl", "has the id 1, but is"),
        (f"2,{names[1]}", "values"),
    ):
        file.write_text(f"id,path,label\n{line}\n")
        assert run("label", data, "--csv", file, "--all") == 1
        (error,) = capsys.readouterr().err.strip().splitlines()
        assert words in error
    assert counts(data) == before


def test_hundreds_of_labels_are_no_line_of_thousands_of_characters(
    tmp_path: Path, capsys: Output
) -> None:
    data = filled(tmp_path / "data", *(f"label {number:04}" for number in range(300)))
    assert run("export", data, "--to", tmp_path / "out") == 0
    assert run("label", data, "--id", "1-300", "--as", "", "--all") == 0
    assert run("label", data, "--csv", tmp_path / "out" / "samples.csv") == 0
    output = capsys.readouterr().out
    assert "300 samples changed: label 0000 1, label 0001 1," in output
    assert "label 0007 1 and 292 more\n" in output
    assert max(map(len, output.splitlines())) < 250


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
    next((data / "cat").iterdir()).write_bytes(b"no image")
    assert run("sheet", data, "--out", sheet) == 1
    assert "images that cannot be read: 1\n  cat/" in capsys.readouterr().out


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
        ("import", absent, tmp_path / "empty", "--params", file),
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
        "import x --rate 1e9",
        "import x --rate fast",
        "import x --topics a,,b",
        "import x --label a\x07b",
        "import ~nobody_/x",
        "sheet",
        "sheet --out x --per-label 0",
        f"sheet --out x --label {'x' * 99}",
        "export --to x --format zip",
        "label",
        "label --id 1",
        "label --as dog",
        "label --id 1 --csv x --as dog",
        "label --csv x --as dog",
        "label --id 1 --as dog --topic camera",
        "label --id x --as dog",
        f"label --id 1 --as {'x' * 99}",
        "label --from-time noon --as dog",
        "label --from-time 12.5 --as dog",
        "label --from-time 1714564800 --to-time 2024-05-01T12:00:00Z --as dog",
    ],
)
def test_a_wrong_command_line_is_exit_code_2(line: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(line.split())
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: fl_dataset")


@pytest.mark.parametrize(
    "command",
    [["info", "--dataset"], ["import"], ["export", "--to"], ["sheet", "--out"]],
)
def test_an_empty_path_is_not_the_folder_one_is_in(command: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command, ""])
    assert exit_.value.code == 2
    assert "the path is empty" in capsys.readouterr().err


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
