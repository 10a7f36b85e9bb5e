"""Folders of images that come into the dataset."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled_images import START_NS, content, encoded, filled, pixels

from fl_robot_ros.curation.image_export import export_folder
from fl_robot_ros.curation.image_import import import_images
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError, LabelError, SourceError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import RawFrame
from fl_robot_ros.images.image_files import decode_image
from fl_robot_ros.labels.folder_layout import INDEX_NAME


def write(path: Path, data: bytes, changed_ns: int = START_NS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(changed_ns, changed_ns))
    return path


def with_exif_orientation(jpeg: bytes) -> bytes:
    """Return a JPEG file that asks to be turned by 90 degrees."""
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    body = b"Exif\x00\x00" + tiff + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def test_class_folders_give_labels_and_loose_images_go_to_the_pool(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / "cat" / "a.jpg", encoded(1), START_NS)
    write(source / "cat" / "b.jpg", encoded(2), START_NS + 5)
    write(source / "stop sign%21" / "c.jpg", encoded(3), START_NS)
    write(source / "loose.jpg", encoded(4), START_NS + 9)
    write(source / "unlabelled" / "d.jpg", encoded(5), START_NS + 11)
    write(source / "notes.txt", b"no image")
    write(source / ".hidden" / "e.jpg", encoded(6))
    seen: list[tuple[int, int]] = []
    with Dataset(tmp_path / "data") as dataset:
        report = import_images(
            dataset, source, on_progress=lambda done, total: seen.append((done, total))
        )
        assert report.added == Counter({"cat": 2, "stop sign!": 1, "": 2})
        assert not report.unreadable
    assert seen == [(done, 5) for done in range(6)]
    assert content(tmp_path / "data") == {
        ("cat", "import/photos", START_NS, encoded(1)),
        ("cat", "import/photos", START_NS + 5, encoded(2)),
        ("stop sign!", "import/photos", START_NS + 1, encoded(3)),
        ("", "import/photos", START_NS + 9, encoded(4)),
        ("", "import/photos", START_NS + 11, encoded(5)),
    }


def test_a_label_is_for_what_lies_in_no_class_folder(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / "a.jpg", encoded(1))
    write(source / "dog" / "b.jpg", encoded(2))
    with Dataset(tmp_path / "data") as dataset:
        assert import_images(dataset, source, label=" cat ").added == {"cat": 1, "dog": 1}
        with pytest.raises(LabelError):
            import_images(dataset, source, label="a\nb")


def test_importing_again_adds_nothing_and_new_files_are_taken(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for number in range(10):
        # All of one time, as from an archive.
        write(source / "cat" / f"{number + 10}.png", encoded(number, ".png"))
    with Dataset(tmp_path / "data") as dataset:
        assert import_images(dataset, source).added == {"cat": 10}
        again = import_images(dataset, source)
        assert (again.added, again.already_stored) == (Counter(), 10)
        # It sorts before the others, and has their time.
        write(source / "cat" / "00.png", encoded(99, ".png"))
        write(source / "cat" / "copy.png", encoded(3, ".png"), START_NS + 77)
        third = import_images(dataset, source)
        assert (third.added, third.already_stored) == (Counter({"cat": 1}), 11)
        stamps = sorted(sample.stamp_ns for sample in dataset.samples())
        assert stamps == list(range(START_NS, START_NS + 11))


def test_jpeg_is_kept_byte_for_byte_and_the_rest_is_encoded(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    turned = with_exif_orientation(encoded(1))
    grey = bytes(cv2.imencode(".jpg", pixels(2)[:, :, 0])[1])
    deep = bytes(cv2.imencode(".png", pixels(3).astype(np.uint16) * 257)[1])
    files = {"a.jpg": turned, "b.jpg": grey, "c.png": deep, "d.bmp": encoded(4, ".bmp")}
    # The suffix does not matter, the content does.
    files |= {"e.png": encoded(5), "f.webp": encoded(6, ".webp"), "g.tiff": encoded(7, ".tiff")}
    for number, (name, data) in enumerate(files.items()):
        write(source / name, data, START_NS + number)
    with Dataset(tmp_path / "data") as dataset:
        assert not import_images(dataset, source).unreadable
    stored = {stamp - START_NS: data for _, _, stamp, data in content(tmp_path / "data")}
    assert stored[0] == turned
    assert stored[4] == files["e.png"]
    for number in (1, 2, 3, 5, 6):
        image = cv2.imdecode(np.frombuffer(stored[number], np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape == (12, 16, 3)
        assert stored[number][:3] == b"\xff\xd8\xff"


def test_unreadable_images_are_named_and_the_others_stored(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / "good.jpg", encoded(1))
    write(source / "empty.jpg", b"")
    write(source / "cut.jpg", encoded(2)[:-100])
    write(source / "text.png", b"no image")
    write(source / "cat" / "\x1b[31m\u202e.jpg", b"no image")
    with Dataset(tmp_path / "data") as dataset:
        report = import_images(dataset, source)
        assert report.added == {"": 1}
    assert {path.name for path, reason in report.unreadable if reason} == {
        "empty.jpg",
        "cut.jpg",
        "text.png",
        "\x1b[31m\u202e.jpg",
    }


def test_names_of_a_dataset_keep_their_times_without_a_manifest(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for name in ("-5_0123abcd.jpg", "7_0123abcd.jpg", "7_ffffffff.jpg"):
        write(source / "cat" / name, encoded(len(name)))
    # No stamp has so many bits.
    write(source / "cat" / "9999999999999999999_0123abcd.jpg", encoded(9))
    with Dataset(tmp_path / "data") as dataset:
        assert import_images(dataset, source).added == {"cat": 4}
        assert import_images(dataset, source).already_stored == 4
        assert {(sample.topic, sample.stamp_ns) for sample in dataset.samples()} == {
            ("import/photos/0123abcd", -5),
            ("import/photos/0123abcd", 7),
            ("import/photos/ffffffff", 7),
            ("import/photos", START_NS),
        }


def test_strange_file_times_are_bounded(tmp_path: Path) -> None:
    source = tmp_path / "my photos\n"
    write(source / "a.jpg", encoded(1), -5_000_000_000)
    write(source / "b.jpg", encoded(2), -7_000_000_000)
    with Dataset(tmp_path / "data") as dataset:
        assert import_images(dataset, source).added == {"": 2}
        assert [(item.topic, item.stamp_ns) for item in dataset.unlabelled()] == [
            ("import/my_photos_", 0),
            ("import/my_photos_", 1),
        ]


@pytest.mark.parametrize(
    "manifest",
    [b"", b"a,b\n1,2\n", b"\xff\xfe", b'path,topic\n"open,x\n', b"path,topic\n" + b"x" * 200_000],
)
def test_an_invalid_manifest_is_one_clear_error(tmp_path: Path, manifest: bytes) -> None:
    source = tmp_path / "photos"
    write(source / "a.jpg", encoded(1))
    write(source / "samples.csv", manifest)
    with Dataset(tmp_path / "data") as dataset:
        with pytest.raises(SourceError, match=r"samples\.csv"):
            import_images(dataset, source)
        assert dataset.num_unlabelled() == 0


def test_a_manifest_that_does_not_fit_the_name_is_not_believed(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / "cat" / "7_0123abcd.jpg", encoded(1))
    rows = "path,topic\n../../7_0123abcd.jpg,/etc/passwd\n,\n7_0123abcd.jpg\n"
    write(source / "samples.csv", rows.encode())
    with Dataset(tmp_path / "data") as dataset:
        import_images(dataset, source)
        assert dataset.samples()[0].topic == "import/photos/0123abcd"


def test_an_invalid_class_folder_or_none_at_all_stores_nothing(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / ("x" * 100) / "a.jpg", encoded(1))
    (tmp_path / "empty").mkdir()
    with Dataset(tmp_path / "data") as dataset:
        for folder in (source, tmp_path / "empty", tmp_path / "absent"):
            with pytest.raises(SourceError):
                import_images(dataset, folder)
        assert dataset.last_id() == 0


def test_the_reserve_of_the_disk_is_not_touched(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.jpg", encoded(1))
    with Dataset(tmp_path / "data") as dataset:
        with pytest.raises(DatasetError, match="stay free"):
            import_images(dataset, tmp_path / "photos", reserve_bytes=1 << 62)
        assert dataset.last_id() == 0


def test_a_dataset_without_its_index_can_be_imported(tmp_path: Path) -> None:
    data = filled(tmp_path / "dataset", "cat", "dog", "\u6258\u76d8")
    (data / INDEX_NAME).unlink()
    with Dataset(tmp_path / "other") as dataset:
        report = import_images(dataset, data)
    assert report.added == {"cat": 1, "dog": 1, "\u6258\u76d8": 1}


def test_a_dataset_is_not_imported(tmp_path: Path) -> None:
    data = filled(tmp_path / "dataset", "cat", "")
    with Dataset(data) as dataset, Dataset(tmp_path / "other") as other:
        for target in (dataset, other):
            with pytest.raises(SourceError, match="is a dataset; export it first"):
                import_images(target, data)
        assert (dataset.last_id(), other.last_id()) == (2, 0)


def test_images_that_the_dataset_has_under_their_names_are_not_added_again(
    tmp_path: Path,
) -> None:
    with Dataset(filled(tmp_path / "data", "cat", "dog", "")) as dataset:
        export_folder(dataset, tmp_path / "out", with_unlabelled=True)
        (tmp_path / "out" / "samples.csv").unlink()
        name = next((tmp_path / "out" / "cat").iterdir()).name
        # Sorted by hand since, and one is another image by now.
        (tmp_path / "out" / "cat").rename(tmp_path / "out" / "fox")
        assert import_images(dataset, tmp_path / "out").already_stored == 3
        assert dataset.last_id() == 3
        write(tmp_path / "out" / "fox" / name, encoded(77))
        report = import_images(dataset, tmp_path / "out")
        assert (report.added, report.already_stored) == ({"fox": 1}, 2)


def test_folders_in_class_folders_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / "train" / "cat" / "a.jpg", encoded(1))
    write(source / "owl" / "b.jpg", encoded(2))
    with Dataset(tmp_path / "data") as dataset:
        with pytest.raises(SourceError, match=r"photos: train has folders .*, and owl beside it"):
            import_images(dataset, source)
        (source / "train").rename(source / "elk")
        with pytest.raises(SourceError, match=r"photos/elk has folders .* import that folder"):
            import_images(dataset, source)
        assert dataset.last_id() == 0
        assert import_images(dataset, source / "elk").added == {"cat": 1}


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write(source / "cat" / "a.jpg", encoded(1))
    for name in ("b.GIF", "c.heic", "notes.txt", ".hidden.gif"):
        write(source / "cat" / name, b"content")
    (source / "dog").symlink_to(source / "cat")
    with Dataset(tmp_path / "data") as dataset:
        report = import_images(dataset, source)
    assert (report.added, report.unreadable) == ({"cat": 1}, [])
    assert report.left_out == [
        "cat/b.GIF: .gif files are not supported",
        "cat/c.heic: .heic files are not supported",
        "dog: is a link to a folder; links are not followed",
        "cat/notes.txt: no image",
    ]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_depth_is_spread_as_capture_does(tmp_path: Path, suffix: str) -> None:
    depth = np.tile(np.linspace(300, 4000, 40).astype(np.uint16), (30, 1))
    data = bytes(cv2.imencode(suffix, depth)[1])
    captured = decode_frame(RawFrame("", 0, 0, "16UC1", 30, 40, 80, False, depth.tobytes()))
    write(tmp_path / "photos" / f"a{suffix}", data)
    with Dataset(tmp_path / "data") as dataset:
        import_images(dataset, tmp_path / "photos")
        stored = cv2.imread(str(dataset.path / dataset.unlabelled()[0].path))
    assert stored is not None
    assert np.abs(stored.astype(int) - captured).max() <= 3
    np.testing.assert_array_equal(decode_image(data), captured)
