"""Labels from lists and from folders of sorted copies."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_images import encoded, filled, new

from fl_robot_ros.curation.image_export import export_folder
from fl_robot_ros.curation.labelling import LabelChooser, apply_plan, plan_labels
from fl_robot_ros.curation.listed_labels import choose_by_csv, choose_by_folder
from fl_robot_ros.dataset.dataset import Dataset
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
    # Its ids 1 and 2 are cats here, and other images there.
    with Dataset(tmp_path / "other") as other:
        other.add([new(number, "owl") for number in (7, 8, 20)])
        sample = other.samples()[1]
        export_folder(other, tmp_path / "out")
    manifest = tmp_path / "out" / "samples.csv"
    assert give(dataset, choose_by_csv(manifest), with_labelled=True) == {"owl": 2}
    assert by_label(dataset) == {"cat": [1, 2], "owl": [8, 9]}
    # A file of that name with other content is another image.
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
def test_an_invalid_file_is_named(tmp_path: Path, text: str) -> None:
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


def test_invalid_folders_change_nothing(dataset: Dataset, tmp_path: Path) -> None:
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


def names(dataset: Dataset) -> list[str]:
    """Return the file names of all samples, in the order of their ids: cats first."""
    samples = sorted([*dataset.samples(), *dataset.unlabelled()])
    return [sample.path.rpartition("/")[2] for sample in samples]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "place",
    [
        "/data/upload/1/{}",
        "/data/upload/12/0123abcd-{}",
        "/data/local-files/?d=drive%2Ffront/{}",
        "https://cloud.example.org/a%20bucket/{}?X-Amz-Signature=1234&x=y",
        "s3://bucket/{}",
        "C:\\images\\{}",
        "{}",
    ],
)
def test_label_studio_numbers_its_tasks_and_names_files(
    dataset: Dataset, tmp_path: Path, place: str
) -> None:
    # The ids are those of other samples here.
    rows = [
        f"{number},1,{'dog' if number < 5 else 'owl'},{number},{place.format(name)}"
        for number, name in enumerate(reversed(names(dataset)), 1)
    ]
    file = write(tmp_path / "list.csv", "annotation_id,annotator,choice,id,image", *rows)
    choose = choose_by_csv(file)
    assert give(dataset, choose, with_labelled=True) == {"dog": 4, "owl": 6}
    assert by_label(dataset) == {"dog": [7, 8, 9, 10], "owl": [1, 2, 3, 4, 5, 6]}
    assert choose.description == (
        "images by image, labels by choice; not used: annotation_id, annotator, id"
    )


def test_roboflow_renames_files(dataset: Dataset, tmp_path: Path) -> None:
    third, fourth = names(dataset)[2:4]
    rows = [
        f"{third.replace('.', '_')}.rf.0a1B2c.jpg, 1, 0",
        f"{fourth.replace('.', '_')}.rf.ffff00.jpg, 0, 1",
        f"{fourth.replace('.', '_')}.rf.eeee00.jpg, 0, 1",
    ]
    file = write(tmp_path / "_classes.csv", "filename, cat, dog", *rows)
    assert give(dataset, choose_by_csv(file)) == {"cat": 1, "dog": 1}
    assert by_label(dataset) == {"cat": [1, 2, 3], "dog": [4]}


def test_hugging_faces_metadata_is_taken(dataset: Dataset, tmp_path: Path) -> None:
    rows = [f'{{"file_name": "train/{names(dataset)[4]}", "label": "owl"}}']
    assert give(dataset, choose_by_csv(write(tmp_path / "metadata.jsonl", *rows))) == {"owl": 1}
    assert by_label(dataset)["owl"] == [5]


def test_an_id_must_be_that_of_the_file_beside_it(dataset: Dataset, tmp_path: Path) -> None:
    third, fourth = names(dataset)[2:4]
    file = tmp_path / "list.csv"
    write(file, "id,path,label", f"3,unlabelled/{third},owl", f"4,unlabelled/{fourth},owl")
    assert give(dataset, choose_by_csv(file)) == {"owl": 2}
    write(file, "id,path,label", f"3,unlabelled/{third},elk", f"3,unlabelled/{fourth},elk")
    with pytest.raises(LabelError, match=r"list.csv: line 3: .* has the id 3, but is sample 4"):
        plan_labels(dataset, choose_by_csv(file), with_labelled=True)
    assert by_label(dataset) == {"cat": [1, 2], "owl": [3, 4]}


def test_rows_that_contradict_each_other_are_named(dataset: Dataset, tmp_path: Path) -> None:
    third, fourth = names(dataset)[2:4]
    file = tmp_path / "list.csv"
    # Two annotators, and the same answer twice.
    rows = [f"{third},owl", f"{fourth},owl", f"{third},owl", f"0123abcd-{third},elk"]
    write(file, "image,label", *rows)
    with pytest.raises(
        LabelError, match=rf"line 5: '0123abcd-{third}' has .*'elk', and 'owl' in l"
    ):
        choose_by_csv(file)
    write(file, "image,thumbnail.jpg,file,label", f"{third},,{fourth},owl")
    with pytest.raises(LabelError, match="line 2: names 2 samples"):
        choose_by_csv(file)
    write(file, "image,label", *rows[:1], *(f"{third},{number}" for number in range(1000)))
    with pytest.raises(LabelError) as caught:
        choose_by_csv(file)
    assert str(caught.value).endswith("; and 997 more")
    assert len(str(caught.value)) < 600


def test_a_tools_row_without_a_label_says_nothing(dataset: Dataset, tmp_path: Path) -> None:
    first = names(dataset)[0]
    choose = choose_by_csv(write(tmp_path / "list.csv", "image,choice", f"{first},", "x.jpg,"))
    assert give(dataset, choose, with_labelled=True) == {}
    assert choose.unmatched() == []


def test_names_of_no_sample_are_told_whatever_they_are(dataset: Dataset, tmp_path: Path) -> None:
    rows = ["frame1.jpg,a,", "frame2.jpg,b,", ",c,", f"x{names(dataset)[2]},d,"]
    choose = choose_by_csv(write(tmp_path / "list.csv", "image,label,sha", *rows))
    assert give(dataset, choose, with_labelled=True) == {}
    assert [place.partition(":")[0] for place in choose.unmatched()] == [
        "line 2",
        "line 3",
        "line 4",
        "line 5",
    ]


def test_classes_may_be_sorted_into_folders_named_like_splits(
    dataset: Dataset, tmp_path: Path
) -> None:
    export_folder(dataset, tmp_path / "out", with_unlabelled=True)
    (tmp_path / "out" / "unlabelled").rename(tmp_path / "out" / "train")
    assert give(dataset, choose_by_folder(tmp_path / "out")) == {"train": 8}
