"""CRC-32C (Castagnoli, RFC 3720, appendix B.4), without a library that a robot may not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # reflected
# The bytes are cut into pieces of this length, whose sums come all at once.
_PIECE_BYTES = 256


def _byte_table() -> NDArray[np.uint32]:
    """Return the sum's change by one byte, uint32 (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def _piece_tables() -> NDArray[np.uint32]:
    """Return, by each of the sum's four bytes, what it becomes over a piece of zeros."""
    sums = np.arange(256, dtype=np.uint32) << (np.arange(4, dtype=np.uint32) * 8)[:, None]
    for _ in range(_PIECE_BYTES):
        sums = _TABLE[sums & 0xFF] ^ (sums >> 8)
    return sums


_TABLE = _byte_table()
_BYTE_STEPS: list[int] = _TABLE.tolist()
_PIECE_STEPS: list[list[int]] = _piece_tables().tolist()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes, 0 to 2^32 - 1."""
    count = len(data) // _PIECE_BYTES
    pieces = np.frombuffer(data, np.uint8, count * _PIECE_BYTES).reshape(count, _PIECE_BYTES)
    sums = np.zeros(count, np.uint32)
    for column in range(_PIECE_BYTES if count else 0):
        sums = _TABLE[(sums ^ pieces[:, column]) & 0xFF] ^ (sums >> 8)
    first, second, third, fourth = _PIECE_STEPS
    crc = 0xFFFFFFFF
    # The sum is linear: that of a piece after others is that of the piece, and what the zeros in
    # its place make of the sum before.
    for piece in sums.tolist():
        crc = (
            first[crc & 0xFF]
            ^ second[crc >> 8 & 0xFF]
            ^ third[crc >> 16 & 0xFF]
            ^ fourth[crc >> 24]
            ^ piece
        )
    for byte in data[count * _PIECE_BYTES :]:
        crc = _BYTE_STEPS[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
