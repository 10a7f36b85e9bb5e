"""TFRecord files and their checksums."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.curation.crc32c import crc32c
from fl_robot_ros.curation.tfrecord import encode_example, write_record


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksum_is_the_published_one(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@given(st.binary(max_size=1500))
def test_the_checksum_is_that_of_the_definition(data: bytes) -> None:
    assert crc32c(data) == slow_crc32c(data)


def test_a_record_is_framed_as_published() -> None:
    file = io.BytesIO()
    write_record(file, b"abc")
    # As tf.io.TFRecordWriter writes it.
    assert file.getvalue().hex() == "0300000000000000b099490e6162636e57f121"


def test_an_example_is_as_protobuf_serializes_it() -> None:
    # As tf.train.Example's SerializeToString(deterministic=True) gives it.
    expected = (
        "0a2f0a0b0a016112060a040a0278790a0b0a016d12061a040a02ac020a130a01"
        "6e120e1a0c0a0affffffffffffffffff01"
    )
    assert encode_example({"a": b"xy", "m": 300, "n": -1}).hex() == expected
