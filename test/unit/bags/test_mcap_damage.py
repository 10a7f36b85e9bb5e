"""Damage in the middle of mcap files: what is around it is read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from bag_recorder import drive, make_image, record
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_mcap import McapReader

from fl_robot_ros.bags.bag import BagReport, LabelMessage, open_bag
from fl_robot_ros.errors import BagError
from fl_robot_ros.images.decode import decode_frame

SIZE = (120, 160)
# Of about 18 frames each.
CHUNKS, FRAMES = 5, 90


def chunks_of(file: Path) -> list[tuple[int, int]]:
    """Return position and length of the chunks, from the file's index."""
    reader = McapReader(file)
    reader.open()
    chunks = [(chunk.chunk_start_offset, chunk.chunk_length) for chunk in reader.chunks]
    reader.close()
    return chunks


def read_intact(path: Path) -> tuple[int, BagReport]:
    """Return how many frames were read, each once and none of them wrong but for its pixels."""
    reading = open_bag(path)
    frames = [item for item in reading if not isinstance(item, LabelMessage)]
    times = [frame.published_ns for frame in frames]
    assert times == sorted(set(times))
    return len(frames), reading.report


def without_chunks(content: bytes, chunks: list[tuple[int, int]]) -> bytes:
    """Return a file with the records of its chunks outside of chunks, and without its summary."""
    parts = [content[: chunks[0][0]]]
    for position, length in chunks:
        # The head of a chunk that is not compressed.
        parts.append(content[position + 9 + 40 : position + length])
    parts.append(b"\x0f" + struct.pack("<QI", 4, 0))
    parts.append(b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + content[:8])
    return b"".join(parts)


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize("length", [0, 40, 500_000, 1 << 28, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("has_summary", [True, False])
def test_damaged_length_of_a_chunk_loses_at_most_that_chunk(
    tmp_path: Path, compression: CompressionMode, length: int, has_summary: bool
) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE), compression=compression)
    content = bytearray(file.read_bytes())
    position, chunk_length = chunks_of(file)[2]
    content[position + 1 : position + 9] = struct.pack("<Q", length)
    file.write_bytes(content if has_summary else content[: -len(content) // 100])
    frames, report = read_intact(file)
    # What is not compressed is found inside the chunk.
    per_chunk = -(-FRAMES * chunk_length // len(content)) + 1
    lost_at_end = 0 if has_summary else per_chunk
    lost = per_chunk if compression is CompressionMode.STORAGE else 1
    assert FRAMES - lost - lost_at_end <= frames <= FRAMES
    assert not report.complete
    assert f"damaged at byte {position}" in report.loss
    assert "bytes were skipped" in report.loss


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize("hole", [100, 4096, 200_000])
def test_hole_of_zeros_loses_what_it_covers(
    tmp_path: Path, compression: CompressionMode, hole: int
) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE), compression=compression)
    content = bytearray(file.read_bytes())
    position, _ = chunks_of(file)[1]
    content[position - hole // 2 : position + hole // 2] = bytes(hole)
    file.write_bytes(content)
    frames, report = read_intact(file)
    assert frames >= FRAMES * (CHUNKS - 2) // CHUNKS - 2
    assert not report.complete


@pytest.mark.parametrize("inserted", [1, 7, 5000])
def test_inserted_bytes_are_skipped(tmp_path: Path, inserted: int) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE))
    content = file.read_bytes()
    position, _ = chunks_of(file)[3]
    noise = np.random.default_rng(0).bytes(inserted)
    file.write_bytes(content[:position] + noise + content[position:])
    frames, report = read_intact(file)
    assert frames == FRAMES
    assert f"{inserted} bytes were skipped" in report.loss


def test_damaged_message_inside_a_chunk_loses_no_other(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE))
    content = bytearray(file.read_bytes())
    position, _ = chunks_of(file)[2]
    message = content.index(b"\x05", position + 9 + 40)
    content[message + 1 : message + 9] = b"\xff" * 8
    file.write_bytes(content)
    frames, report = read_intact(file)
    assert frames == FRAMES - 1
    assert "a chunk is damaged inside" in report.loss


def test_chunk_that_does_not_match_its_checksum_is_left_out(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE))
    content = bytearray(file.read_bytes())
    chunks = chunks_of(file)
    for position, length in chunks:
        checksum = zlib.crc32(content[position + 9 + 40 : position + length])
        content[position + 9 + 24 : position + 9 + 28] = struct.pack("<I", checksum)
    file.write_bytes(content)
    assert read_intact(file)[1].complete
    content[chunks[2][0] + 100_000] ^= 1
    file.write_bytes(content)
    frames, report = read_intact(file)
    assert FRAMES * (CHUNKS - 1) // CHUNKS - 2 <= frames < FRAMES
    assert "checksum" in report.loss


@pytest.mark.parametrize("damaged_at", [None, 0.3, 0.6])
def test_messages_outside_of_chunks(tmp_path: Path, damaged_at: float | None) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE))
    content = bytearray(without_chunks(file.read_bytes(), chunks_of(file)))
    if damaged_at is not None:
        start = int(damaged_at * len(content))
        content[start : start + 60_000] = bytes(60_000)
    file.write_bytes(content)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    reading = open_bag(file)
    frames = [item for item in reading if not isinstance(item, LabelMessage)]
    if damaged_at is None:
        assert reading.report.complete
        assert len(frames) == FRAMES
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(decode_frame(frame), make_image(number, *SIZE))
    else:
        assert FRAMES - 2 <= len(frames) <= FRAMES
        assert "damaged at byte" in reading.report.loss


def test_channels_of_a_compressed_chunk_are_known_to_messages_behind_it(tmp_path: Path) -> None:
    plain = record(tmp_path / "plain", drive(FRAMES, size=SIZE))
    packed = record(
        tmp_path / "packed", drive(FRAMES, size=SIZE), compression=CompressionMode.STORAGE
    )
    position, length = chunks_of(packed)[0]
    chunks = chunks_of(plain)
    # The first chunk has schemas and channels, and there is no summary that would have them too.
    rest = without_chunks(plain.read_bytes(), chunks[1:])[chunks[1][0] :]
    packed.write_bytes(packed.read_bytes()[: position + length] + rest)
    (tmp_path / "packed" / "metadata.yaml").unlink()
    assert read_intact(packed)[0] == FRAMES


def test_damaged_beginning_does_not_hide_the_rest(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(FRAMES, size=SIZE))
    content = bytearray(file.read_bytes())
    content[:40] = bytes(40)
    file.write_bytes(content)
    frames, report = read_intact(file)
    assert frames == FRAMES
    assert "does not begin like an mcap file" in report.loss


def test_noise_is_no_mcap(tmp_path: Path) -> None:
    file = tmp_path / "noise.mcap"
    file.write_bytes(np.random.default_rng(1).bytes(2_000_000))
    with pytest.raises(BagError, match="does not begin like an mcap file"):
        list(open_bag(file))
