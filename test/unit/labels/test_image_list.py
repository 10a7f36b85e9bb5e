"""Lists of images and labels, as labelling tools write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.image_list import ImageList, path_parts, read_image_list


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


def read(file: Path, *lines: str) -> ImageList:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_image_list(file)


def labels(listed: ImageList) -> list[tuple[str, str]]:
    assert not listed.lacks
    return [(image.files[0], image.label) for image in listed.images]


# As label_studio_sdk's converter writes it: sorted columns, quoted text.
STUDIO = '"annotation_id","annotator","{}","created_at","id","{}","lead_time","updated_at"'
STUDIO_ROW = '7,1,{},"2024-05-01T12:00:00Z",{},"/data/upload/1/0123abcd-{}",1.5,"2024-05-01"'


@pytest.mark.parametrize("column", ["choice", "label", "what is it", "sentiment"])
def test_label_studio_names_the_column_as_its_configuration_does(file: Path, column: str) -> None:
    listed = read(
        file,
        STUDIO.format(column, "image"),
        STUDIO_ROW.format('"cat"', 2, "a.jpg"),
        STUDIO_ROW.format('"{""choices"": [""dog""]}"', 1, "b.jpg"),
        STUDIO_ROW.format('"[{""choices"": [""dog""]}]"', 3, "c.jpg"),
        STUDIO_ROW.format("", 4, "d.jpg"),
    )
    assert [image.label for image in listed.images] == ["cat", "dog", "dog", ""]
    assert (listed.file_columns, listed.label_columns) == (("image",), (column,))
    assert listed.description == (
        f"images by image, labels by {column}; rows without a label: 1; not used: annotation_id, "
        f"annotator, created_at, id, lead_time, updated_at"
    )


def test_label_studios_columns_of_one_name_are_told_apart(file: Path) -> None:
    row = STUDIO_ROW.format('"/data/upload/1/0123abcd-a.jpg"', 2, "")
    listed = read(file, STUDIO.format("_data_image", "image"), row.replace("0123abcd-", "cat"))
    assert listed.file_columns == ("_data_image", "image")[:1]
    assert listed.label_columns == ("image",)


def test_a_column_of_image_names_is_found_whatever_it_is_called(file: Path) -> None:
    listed = read(file, STUDIO.format("choice", "front"), STUDIO_ROW.format("cat", 1, "a.PNG"))
    assert listed.file_columns == ("front",)
    assert labels(read(file, "id,label", "a.jpg,cat", "b.jpeg,dog")) == [
        ("a.jpg", "cat"),
        ("b.jpeg", "dog"),
    ]


def test_roboflow_has_a_column_for_each_class(file: Path) -> None:
    listed = read(file, "filename, Cat, dog, Unlabeled", "a, 1, 0, 0", "b, 0, 1, 0", "c, 0, 0, 1")
    assert labels(listed) == [("a", "Cat"), ("b", "dog"), ("c", "")]
    assert "images by filename, labels by the column with 1 (Cat, dog, Unlabeled)" in (
        listed.description
    )
    with pytest.raises(LabelError, match=r"line 3: has 2 labels \(cat, dog\); expected one"):
        read(file, "filename, cat, dog", "a, 1, 0", "b, 1, 1")


def test_hugging_face_lists_come_as_csv_and_as_json_lines(file: Path) -> None:
    expected = [("train/0.jpg", "cat"), ("train/1.jpg", "3")]
    assert labels(read(file, "file_name,label", "train/0.jpg,cat", "train/1.jpg,3")) == expected
    lines = ('{"file_name": "train/0.jpg", "label": "cat"}', "", '{"file_name": "train/1.jpg",')
    lines = (*lines[:2], lines[2] + ' "label": 3, "box": [1, 2]}')
    assert labels(read(file.with_suffix(".jsonl"), *lines)) == expected
    for broken in ("[1]", "{", "[" * 100_000):
        with pytest.raises(LabelError, match="line 1"):
            read(file.with_suffix(".jsonl"), broken)


@pytest.mark.parametrize("column", ["image", "images", "IMG", "File Name", "file_path", "img-url"])
def test_columns_of_files_have_many_names(file: Path, column: str) -> None:
    assert read(file, f"{column},class", "x,cat").file_columns == (column,)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("a,b", "expected a column of image files, such as filename, or of ids; the header is"),
        ("filename,caption", "expected a column label, or one of 0 and 1 for each class"),
        ("filename,class,category", "one column that may hold the labels, not class, category"),
        ("id,sha256,label", "expected a column path beside sha256"),
        ("filename,label,label", "expected one column label"),
        ("id,label,annotator", "expected Label Studio's column of image files"),
        ("id,label,annotation_id", "expected Label Studio's column of image files"),
        ("image,id,weather,camera,annotation_id", "not weather, camera; remove the others"),
    ],
)
def test_a_header_without_what_is_needed_is_told(file: Path, header: str, what: str) -> None:
    listed = read(file, header, ",".join("x" for _ in header.split(",")))
    assert what in listed.lacks
    assert not listed.images


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("a,b.jpg,cat", "line 2: 3 values; expected 2, as in the header"),
        ("a.jpg", "line 2: 1 values; expected 2"),
        ('a.jpg,"[""cat"", ""dog""]"', r"line 2: has 2 labels \(cat, dog\)"),
        (
            'a.jpg,"[{""x"": 1, ""rectanglelabels"": [""cat""]}]"',
            "expected one label for the",
        ),
        (f"a.jpg,{'x' * 99}", "line 2: label"),
        ('a.jpg,"open', "is not CSV"),
    ],
)
def test_a_row_that_may_mean_something_else_is_refused(file: Path, row: str, what: str) -> None:
    with pytest.raises(LabelError, match=what):
        read(file, "filename,label", row)


def test_a_label_may_look_like_json(file: Path) -> None:
    assert labels(read(file, "filename,label", "a,[x]", "b,{", "c, cat ,")) == [
        ("a", "[x]"),
        ("b", "{"),
        ("c", "cat"),
    ]


def test_the_description_of_many_classes_is_short(file: Path) -> None:
    classes = [f"class {number}" for number in range(1000)]
    row = ",".join("1" if number == 7 else "0" for number in range(1000))
    listed = read(file, f"filename,{','.join(classes)}", f"a.jpg,{row}")
    assert labels(listed) == [("a.jpg", "class 7")]
    assert listed.description.endswith("class 7 and 992 more)")


def test_the_parts_of_urls_are_found() -> None:
    assert path_parts("https://h/a%20b/c.jpg?sig=x#y") == "https: h,a b,c.jpg,sig,x,y".replace(
        " h", ",h"
    ).split(",")
    assert path_parts("/data/local-files/?d=x%2Fy.jpg")[-2:] == ["x", "y.jpg"]
    assert path_parts("C:\\x\\y.jpg")[-1] == "y.jpg"
