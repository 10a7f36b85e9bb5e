"""Folders of images: what is found in them, and how a file is decoded."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.errors import SourceError
from fl_robot_ros.images.image_files import (
    decode_image,
    read_image,
    search_folder,
)

PIXELS = np.random.default_rng(1).integers(0, 255, (12, 16, 3), np.uint8)


def encoded(suffix: str, pixels: NDArray[np.generic] = PIXELS) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


def turned(jpeg: bytes) -> bytes:
    """Return a JPEG file that asks to be turned by 90 degrees."""
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    body = b"Exif\x00\x00" + tiff + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def test_an_orientation_in_exif_is_left_alone_as_in_capture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(turned(encoded(".jpg")))
    grey = turned(encoded(".jpg", PIXELS[..., 0]))
    for image in (read_image(tmp_path / "a.jpg"), decode_image(grey)):
        assert image is not None
        assert image.shape == (12, 16, 3)


@pytest.mark.parametrize(
    ("suffix", "pixels"),
    [
        (".png", PIXELS),
        (".png", PIXELS[..., 0]),
        (".png", np.dstack([PIXELS, PIXELS[..., 0]])),
        (".png", PIXELS.astype(np.uint16) * 257),
        (".jpg", PIXELS),
        (".jpg", PIXELS[..., 0]),
        (".bmp", PIXELS),
        (".webp", PIXELS),
        (".pgm", PIXELS[..., 0]),
        (".tiff", PIXELS),
        (".tiff", PIXELS.astype(np.uint16) * 257),
    ],
)
def test_other_images_are_as_opencv_shows_them(suffix: str, pixels: NDArray[np.generic]) -> None:
    data = encoded(suffix, pixels)
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    np.testing.assert_array_equal(decode_image(data), shown[..., ::-1])


def huge_png(width: int, height: int) -> bytes:
    """Return a small file of a large black image of two colours."""
    row = bytes(1 + width // 8)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0),
        b"IDAT": zlib.compress(height * row),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks.items()
    )


def test_a_small_file_of_a_huge_image_is_not_decoded() -> None:
    assert decode_image(huge_png(800, 600)) is not None
    data = huge_png(8200, 8200)
    assert len(data) < 10_000
    assert decode_image(data) is None


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_what_is_left_of_a_file_is_no_image(suffix: str) -> None:
    data = encoded(suffix)
    for size in range(len(data)):
        assert decode_image(data[:size]) is None


def test_links_and_unsupported_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").write_bytes(encoded(".png"))
    (tmp_path / "b" / "2.Gif").write_bytes(b"GIF89a")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / ".link").symlink_to(tmp_path)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.png").mkdir()
    found = search_folder(tmp_path)
    assert found.images == [tmp_path / "b" / "1.png"]
    assert [path.name for path, _ in found.left_out] == ["2.Gif", "loop", "dangling.png"]


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder unreadable, for the superuser too."""
    scandir = os.scandir

    def set_up(folder: Path) -> None:
        def fail(path: str) -> Iterator[os.DirEntry[str]]:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", str(folder))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", fail)

    return set_up


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, deny: Callable[[Path], None]
) -> None:
    for name in ("cat", "dog", ".trash"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(encoded(".png"))
    deny(tmp_path / ".trash")
    assert len(search_folder(tmp_path).images) == 2
    deny(tmp_path / "dog")
    with pytest.raises(SourceError, match=f"cannot read {tmp_path / 'dog'}: Permission denied"):
        search_folder(tmp_path)
