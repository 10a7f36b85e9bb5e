"""Folders of images as tools lay them out, with their labels."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from fl_robot_ros.errors import SourceError
from fl_robot_ros.labels.image_folder import ImageFolder, read_image_folder

PIXELS = np.random.default_rng(1).integers(0, 255, (12, 16, 3), np.uint8)


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, PIXELS)[1])


JPEG = encoded(".jpg")


def fill(folder: Path, *names: str, data: bytes = JPEG) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def labels(found: ImageFolder) -> dict[str, str]:
    return {str(image.path.relative_to(found.path)): image.label for image in found.images}


def test_roboflow_classes(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        fill(tmp_path / split, "0_jpg.rf.0a1b2c.jpg", "1_jpg.rf.0a1b2c.jpg", "2.jpg")
        rows = "filename, cat, dog\n0_jpg.rf.0a1b2c.jpg, 1, 0\n1_jpg.rf.0a1b2c.jpg, 0, 1\n"
        (tmp_path / split / "_classes.csv").write_text(rows)
    found = read_image_folder(tmp_path)
    assert [image.label for image in found.images] == ["cat", "dog", ""] * 2
    assert [image.split for image in found.images] == ["train"] * 3 + ["validation"] * 3
    assert found.remarks == [
        "split folders train, valid; files directly in train, valid have no class folder",
        "labels by train/_classes.csv, valid/_classes.csv: images by filename, labels by the "
        "column with 1 (cat, dog)",
    ]
    assert (found.others, found.left_out) == ([], [])


def test_hugging_face_metadata_names_files_by_their_path_from_it(tmp_path: Path) -> None:
    fill(tmp_path, "train/0.jpg", "test/0.jpg", "1.jpg")
    (tmp_path / "metadata.csv").write_text(
        "file_name,label\ntrain/0.jpg,cat\n./test/0.jpg,dog\n1.jpg,owl\n9.jpg,elk\n"
    )
    found = read_image_folder(tmp_path)
    assert labels(found) == {"1.jpg": "owl", "test/0.jpg": "dog", "train/0.jpg": "cat"}
    assert "metadata.csv names 1 files that are not there: 9.jpg" in found.remarks
    # By name alone it may be either.
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.jpg,cat\n")
    with pytest.raises(SourceError, match=r"metadata.csv: line 2: '0.jpg' may be 2 files, test/0"):
        read_image_folder(tmp_path)


def test_a_list_without_labels_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "0.jpg")
    (tmp_path / "metadata.csv").write_text("file_name,text\n0.jpg,a cat on a mat\n")
    (line,) = read_image_folder(tmp_path).left_out_lines()
    assert line.startswith("metadata.csv: expected a column label")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.jpg", "label": "cat"}\n')
    assert labels(read_image_folder(tmp_path)) == {"0.jpg": "cat"}


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("cat/0.jpg,dog", "cat/0.jpg lies in the folder of 'cat' and has the label 'dog'"),
        (
            "1.jpg,dog\n1.jpg,cat",
            "metadata.csv: line 3: '1.jpg' has the label 'cat', and 'dog'",
        ),
        ("1.jpg,x,y", "metadata.csv: line 2: 3 values"),
    ],
)
def test_a_list_that_contradicts_something_is_refused(
    tmp_path: Path, rows: str, what: str
) -> None:
    fill(tmp_path, "cat/0.jpg", "1.jpg")
    (tmp_path / "metadata.csv").write_text(f"file_name,label\n{rows}\n")
    with pytest.raises(SourceError, match=what):
        read_image_folder(tmp_path)


def test_two_lists_must_agree(tmp_path: Path) -> None:
    fill(tmp_path, "0.jpg")
    (tmp_path / "_classes.csv").write_text("filename,cat\n0.jpg,1\n")
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.jpg,cat\n")
    assert labels(read_image_folder(tmp_path)) == {"0.jpg": "cat"}
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.jpg,dog\n")
    with pytest.raises(SourceError, match=r"has the label 'dog' by .* another list"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("name", ["unlabelled", "Unlabelled", "unlabeled"])
def test_unlabelled_is_no_label(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"{name}/0.jpg", "cat/1.jpg")
    assert labels(read_image_folder(tmp_path)) == {"cat/1.jpg": "cat", f"{name}/0.jpg": ""}


def test_an_exports_folders_are_classes_whatever_they_are_called(tmp_path: Path) -> None:
    fill(tmp_path, "train/0.jpg", "test/1.jpg", "unlabelled/2.jpg")
    assert set(labels(read_image_folder(tmp_path)).values()) == {""}
    (tmp_path / "samples.csv").touch()
    found = read_image_folder(tmp_path)
    assert [image.label for image in found.images] == ["test", "train", ""]
    assert found.others == []


@pytest.mark.parametrize(
    "name", ["1.JPG", "2.jfif", "3.jpe", "4", "5.jpeg_large", "6.jpg~", "7.jpg.txt", "8.dng"]
)
def test_images_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"cat/{name}")
    assert labels(read_image_folder(tmp_path)) == {f"cat/{name}": "cat"}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tiff"])
def test_every_supported_format_is_known_without_a_suffix(tmp_path: Path, suffix: str) -> None:
    pixels = PIXELS[..., 0] if suffix == ".pgm" else PIXELS
    fill(tmp_path, "image", data=bytes(cv2.imencode(suffix, pixels)[1]))
    assert len(read_image_folder(tmp_path).images) == 1


def test_what_is_no_image_is_named_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path, "0.jpg")
    fill(tmp_path, "BMW.txt", data=b"BMW, a list of cars and what they cost")
    fill(tmp_path, *(f"{number}.json" for number in range(1, 10)), data=b"{}")
    fill(tmp_path, "raw.nef", data=encoded(".tiff"))
    fill(tmp_path, "phone", data=b"\0\0\0\x18ftypheic")
    fill(tmp_path, "Thumbs.db", ".DS_Store", "__MACOSX/._0.jpg", ".hidden/1.jpg")
    (tmp_path / "link").symlink_to("nowhere")
    found = read_image_folder(tmp_path)
    assert labels(found) == {"0.jpg": ""}
    assert found.left_out_lines() == [
        "phone: an image of a format that is not supported",
        "raw.nef: .nef files are not supported",
        "1.json, 2.json, 3.json, 4.json and 7 more: no image",
    ]


def test_a_folder_name_that_is_no_label_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, "a\tb/0.jpg", os.fsdecode(b"caf\xe9/1.jpg"))
    for image in read_image_folder(tmp_path).images:
        with pytest.raises(SourceError, match="gives no label"):
            _ = image.label
