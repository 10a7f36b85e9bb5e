"""Labels given afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import START_NS, encoded, filled, new

from fl_robot_ros.dataset.labelling import (
    LabelChooser,
    apply_plan,
    choose_by_csv,
    choose_by_folder,
    choose_by_id,
    choose_by_time,
    ids_without_sample,
    parse_ids,
    parse_label_stamp,
    plan_labels,
)
from fl_robot_ros.dataset.picture_export import export_folder
from fl_robot_ros.dataset.store import Dataset
from fl_robot_ros.errors import LabelError, SourceError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset with ids 1 to 10, a second apart; 1 and 2 are cats, the others have no label."""
    return Dataset(filled(tmp_path / "data", "cat", "cat", *[""] * 8))


def give(dataset: Dataset, choose: LabelChooser, with_labelled: bool = False) -> dict[str, int]:
    plan = plan_labels(dataset, choose, with_labelled=with_labelled)
    return apply_plan(dataset, plan, lambda done, total: None)


def by_label(dataset: Dataset) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for sample in dataset.samples():
        found.setdefault(sample.label, []).append(sample.id)
    return found


def test_ids_name_samples_of_the_pool(dataset: Dataset) -> None:
    choose = choose_by_id(parse_ids("8 , 1-3,2-5,4, 20-9999999999999999999"), "dog")
    plan = plan_labels(dataset, choose, with_labelled=False)
    assert (plan.changes, plan.protected, plan.same) == ({"dog": [3, 4, 5, 8]}, 2, 0)
    assert apply_plan(dataset, plan, lambda done, total: None) == {"dog": 4}
    again = plan_labels(dataset, choose, with_labelled=False)
    assert (again.total, again.protected, again.same) == (0, 2, 4)
    assert by_label(dataset) == {"cat": [1, 2], "dog": [3, 4, 5, 8]}


def test_labelled_samples_change_only_when_asked_for(dataset: Dataset) -> None:
    assert give(dataset, choose_by_id(parse_ids("1-2"), "dog")) == {}
    assert give(dataset, choose_by_id(parse_ids("1"), "dog"), with_labelled=True) == {"dog": 1}
    assert give(dataset, choose_by_id(parse_ids("1-9"), ""), with_labelled=True) == {"": 2}
    assert dataset.num_unlabelled() == 10


@pytest.mark.parametrize("text", ["", "x", "3-", "-3", "7-3", "1,,2", "1.5", "\u0663-x", "9" * 30])
def test_unfit_ids_are_refused(text: str) -> None:
    with pytest.raises(LabelError, match="ids"):
        parse_ids(text)


def test_ids_of_no_sample_are_named_as_they_were_written(dataset: Dataset) -> None:
    dataset.remove([4, 5])
    ids = parse_ids("3, 4,4-5,5-6,10,11-9999999999999999999,0")
    assert ids_without_sample(dataset, ids) == ["4", "4-5", "11-9999999999999999999", "0"]


def test_times_are_inclusive_at_the_start_only(dataset: Dataset) -> None:
    dataset.add([new(4, "", "/robot1/rear")])
    start = parse_label_stamp("2024-05-01T12:00:03Z")
    end = parse_label_stamp(str(START_NS // 10**9 + 5))
    assert give(dataset, choose_by_time(start, end, "rear/", "owl")) == {"owl": 1}
    assert by_label(dataset)["owl"] == [11]
    assert give(dataset, choose_by_time(start, end, "", "dog")) == {"dog": 2}
    assert by_label(dataset)["dog"] == [4, 5]
    late = parse_label_stamp("2024-05-01T12:00:09Z")
    assert give(dataset, choose_by_time(late, None, "", "late")) == {"late": 1}
    assert give(dataset, choose_by_time(None, start, "", "early")) == {"early": 1}


@pytest.mark.parametrize("text", ["", "12.5", "yesterday", "2024-05-01T12:00:09"])
def test_unfit_times_are_refused(text: str) -> None:
    with pytest.raises(LabelError, match="expected"):
        parse_label_stamp(text)


def test_a_file_names_ids_or_ranges(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("\ufeffLabel,id,note\n dog ,3,x\ncaf\u00e9,4,\n,5,\ndog,999,\n", "utf-8")
    assert give(dataset, choose_by_csv(file)) == {"caf\u00e9": 1, "dog": 1}
    file.write_text(
        "start,end,label,topic\n"
        "2024-05-01T12:00:05Z,2024-05-01T12:00:08Z,owl,\n"
        "2024-05-01T12:00:06Z,2024-05-01T12:00:07Z,fox,camera\n"
    )
    assert give(dataset, choose_by_csv(file)) == {"fox": 1, "owl": 2}
    assert by_label(dataset)["owl"] == [6, 8]


def test_an_exports_list_names_files_not_ids(dataset: Dataset, tmp_path: Path) -> None:
    # Its ids 1 and 2 are cats here, and other pictures there.
    with Dataset(tmp_path / "other") as other:
        other.add([new(number, "owl") for number in (7, 8, 20)])
        sample = other.samples()[1]
        export_folder(other, tmp_path / "out")
    manifest = tmp_path / "out" / "samples.csv"
    assert give(dataset, choose_by_csv(manifest), with_labelled=True) == {"owl": 2}
    assert by_label(dataset) == {"cat": [1, 2], "owl": [8, 9]}
    # A file of that name with other content is another picture.
    text = manifest.read_text().replace("owl,", "fox,").replace(sample.sha256, "0" * 64)
    (tmp_path / "labels.csv").write_text(text)
    assert give(dataset, choose_by_csv(tmp_path / "labels.csv"), with_labelled=True) == {"fox": 1}
    assert by_label(dataset) == {"cat": [1, 2], "fox": [8], "owl": [9]}


def test_an_exports_list_works_without_ids_and_for_samples_without_a_hash(tmp_path: Path) -> None:
    with Dataset(filled(tmp_path / "data", "", "")) as dataset:
        first, second = dataset.unlabelled()
        row = f"x/{first.path.rpartition('/')[2]},{first.sha256.upper()},owl"
        (tmp_path / "labels.csv").write_text(f"path,sha256,label\n{row}\n")
        choose = choose_by_csv(tmp_path / "labels.csv")
        assert [choose(first), choose(first._replace(sha256="")), choose(second)] == [
            "owl",
            "owl",
            None,
        ]


def test_what_a_spreadsheet_makes_of_a_list_is_read_or_told(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        '\ufeff"id","label"\r\n"1","owl"\r\n"",""\r\n\r\n', encoding="utf-8", newline=""
    )
    assert give(dataset, choose_by_csv(path), with_labelled=True) == {"owl": 1}
    for mark in (";", "\t"):
        path.write_text(f"id{mark}label\r\n1{mark}fox\r\n")
        with pytest.raises(
            LabelError, match=r"labels\.csv: the header is .*; save it with commas"
        ):
            choose_by_csv(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,label,sha256\n1,a,\n",
        f"path,sha256,label\n,{'0' * 64},dog\n",
        "path,sha256,label\na/1_0123abcd.jpg,,dog\n",
        f"path,sha256,label\na/1_0123abcd.jpg,{'0' * 64}\n",
        f"path,sha256,label\na/1_0123abcd.jpg,{'0' * 64},a\nb/1_0123abcd.jpg,{'0' * 64},b\n",
        "id\n1\n",
        "id,label,label\n1,a,b\n",
        "id,label\nx,dog\n",
        "id,label\n1\n",
        "id,label\n1,dog\n1,cat\n",
        'id,label\n1,"a\x07"\n',
        'id,label\n1,"open\n',
        "start,end,label\n0,5,dog\n",
        "start,end\n",
    ],
)
def test_an_unfit_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(LabelError, match=r"labels\.csv"):
        choose_by_csv(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"id,label\n1,\xff\n")
    for name in ("absent.csv", "binary.csv", "."):
        with pytest.raises(LabelError):
            choose_by_csv(tmp_path / name)


def test_sorted_copies_give_their_folders_names(dataset: Dataset, tmp_path: Path) -> None:
    export_folder(dataset, tmp_path / "out", with_unlabelled=True)
    files = sorted((tmp_path / "out" / "unlabelled").iterdir())
    for file, folder in zip(files, ("owl", "owl", "caf\u00e9", "%E6%89%98"), strict=False):
        (tmp_path / "out" / folder).mkdir(exist_ok=True)
        file.rename(tmp_path / "out" / folder / file.name)
    (tmp_path / "out" / "owl" / "holiday.jpg").write_bytes(encoded(1))
    (tmp_path / "out" / "owl" / "1_0123abcd.jpg").write_bytes(encoded(1))
    assert give(dataset, choose_by_folder(tmp_path / "out")) == {
        "caf\u00e9": 1,
        "owl": 2,
        "\u6258": 1,
    }
    assert dataset.num_unlabelled() == 4
    assert by_label(dataset)["owl"] == [3, 4]


def test_unfit_folders_change_nothing(dataset: Dataset, tmp_path: Path) -> None:
    name = dataset.unlabelled()[0].path.rpartition("/")[2]
    for folder in ("a", "b"):
        (tmp_path / "twice" / folder).mkdir(parents=True)
        (tmp_path / "twice" / folder / name).touch()
    (tmp_path / "foreign" / "a").mkdir(parents=True)
    (tmp_path / "foreign" / "a" / "x.jpg").touch()
    for folder, words in (("twice", "leave it in one"), ("foreign", "no file with a name")):
        with pytest.raises(LabelError, match=words):
            choose_by_folder(tmp_path / folder)
    with pytest.raises(SourceError):
        choose_by_folder(tmp_path / "absent")
