"""TFRecord files of tf.train.Example, written without TensorFlow.

A record is the length of its data, a checksum of that, the data, and a checksum of it
(tensorflow/core/lib/io/record_writer.h); the data is a protobuf message
(tensorflow/core/example/example.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fl_robot_ros.curation.crc32c import crc32c

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_MASK_DELTA = 0xA282EAD8
# Field numbers and wire types of example.proto and feature.proto.
_LENGTH_DELIMITED = 2
_BYTES_LIST, _INT64_LIST = 1, 3


def write_record(file: SupportsWrite[bytes], data: bytes) -> None:
    """Write one record.

    Args:
        file: An open binary file.
        data: Its content.

    Raises:
        OSError: The file cannot be written.
    """
    length = struct.pack("<Q", len(data))
    file.write(length + _checksum(length) + data + _checksum(data))


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """Return a serialized tf.train.Example.

    Args:
        features: Value by name, each one value of bytes or an integer of 64 bits.
    """
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(value)))
        for name, value in features.items()
    )
    return _field(1, entries)


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return _field(_BYTES_LIST, _field(1, value))
    # Negative numbers are 64-bit two's complement.
    return _field(_INT64_LIST, _field(1, _varint(value & (1 << 64) - 1)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    return bytes(_varint_bytes(number))


def _varint_bytes(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def _checksum(data: bytes) -> bytes:
    """Return the masked CRC-32C, which differs from that of data with a CRC-32C in it."""
    crc = crc32c(data)
    rotated = crc >> 15 | crc << 17 & 0xFFFFFFFF
    return struct.pack("<I", rotated + _MASK_DELTA & 0xFFFFFFFF)
