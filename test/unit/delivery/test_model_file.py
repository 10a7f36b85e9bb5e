"""Model files are read where they are what they should be, and cost no more than they must."""

from __future__ import annotations

import os
import socket
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest

from fl_robot_ros.delivery.model_file import hash_file, read_file, read_verified, verify_file
from fl_robot_ros.errors import ModelError


def test_hash_is_that_of_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert hash_file(path).startswith("ba7816bf8f01cfea414140de5dae2223")
    with pytest.raises(ModelError, match="cannot read"):
        hash_file(tmp_path / "absent")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with path.open("wb") as file:
        file.truncate(3 * 1024**3)  # Without blocks on the disk.
    with pytest.raises(ModelError, match=r"3,221,225,472 bytes; at most 2,147,483,648 are read"):
        read_verified(path, "0" * 64)


def test_an_exchanged_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with path.open("wb") as file:
        file.truncate(64 * 1024**2)
    tracemalloc.start()
    try:
        for read in (read_verified, verify_file):
            with pytest.raises(ModelError, match="SHA-256"):
                read(path, "0" * 64)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"  # Nobody writes to it: who waited would wait for ever.
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (fifo, tmp_path / "socket", tmp_path, Path("/dev/zero")):
            for read in (hash_file, lambda path: read_file(path, 100)):
                with pytest.raises(ModelError, match=r"no regular file|cannot read"):
                    read(path)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("abc")
    assert read_verified(tmp_path / "link", sha256(b"abc").hexdigest()) == b"abc"
