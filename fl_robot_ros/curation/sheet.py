"""A contact sheet of a dataset: what each label looks like, and when its images were taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.retention import choose_victims
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.images.drawn_text import (
    BOLD,
    draw_text,
    drawable_names,
    shortened,
    text_width,
)
from fl_robot_ros.images.image_files import read_image
from fl_robot_ros.labels.label_time import utc_minute

MAX_LABELS = 200
# Image viewers, and memory, have their limits.
MAX_HEIGHT_PX = 32_000
COLUMNS = 12

Image = NDArray[np.uint8]

_TILE_PX = 96
_GAP_PX = 8
_MARGIN_PX = 28
_CAPTION_PX = 20
_TEXT_COLUMN_PX = 300
_HEADER_PX = 84
_FOOTER_PX = 26
_BLOCK_GAP_PX = 23
_MIN_TILES = 4
# A bar and the space beside it are 4 px wide.
_BINS = 62
_BIN_PX = 4
_HISTOGRAM_PX = 30

_PAPER = (250, 250, 248)
_FRAME = (234, 234, 230)
_LINE = (216, 216, 211)
_INK = (32, 36, 42)
_GREY = (104, 110, 118)
_BAR = (46, 112, 168)
_POOL_BAR = (176, 122, 44)
_BROKEN = (200, 52, 52)


@dataclass
class SheetReport:
    """What is on a sheet, and what is not.

    Attributes:
        labels: Number of labels on it, without the review pool.
        left_out: Labels that there was no room for.
        unreadable: Samples that were chosen and whose image cannot be read.
    """

    labels: int = 0
    left_out: list[str] = field(default_factory=list)
    unreadable: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class _Block:
    """One label on the sheet: its name as it is drawn, and its samples by time."""

    name: str
    samples: Sequence[Sample]
    chosen: Sequence[Sample]
    is_pool: bool


def draw_dataset_sheet(
    dataset: DatasetReader,
    *,
    per_label: int = COLUMNS,
    label: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Image, SheetReport]:
    """Draw a block for each label, and one for the review pool at the end.

    A block has the label's name, its number of samples, the dates of the first and the last, a
    histogram over the time of all that is on the sheet, scaled to its own highest bar, and tiles
    spread over the label's time, with their samples' ids. Names are drawn as
    `drawable_names` writes them.

    Args:
        dataset: The dataset.
        per_label: Most tiles of a label, 1 or more.
        label: The only label to draw, "" for the review pool; None: all.
        on_progress: Called after each tile with the number done and of all.

    Returns:
        The sheet, uint8 (H, W, 3), RGB; and what is on it.

    Raises:
        DatasetError: There is nothing to draw, or too much, or the index cannot be read.
    """
    report = SheetReport()
    blocks = _blocks(dataset, per_label, label, report)
    times = [item.stamp_ns for block in blocks for item in (block.samples[0], block.samples[-1])]
    span_ns = min(times), max(times)
    columns = min(COLUMNS, max(_MIN_TILES, *(len(block.chosen) for block in blocks)))
    heights = [_block_height(block, columns) for block in blocks]
    width = 2 * _MARGIN_PX + _TEXT_COLUMN_PX + columns * (_TILE_PX + _GAP_PX) - _GAP_PX
    height = _HEADER_PX + sum(heights) + _BLOCK_GAP_PX * len(blocks) + _FOOTER_PX
    if height > MAX_HEIGHT_PX:
        raise DatasetError(
            f"the sheet would be {height} px high; expected at most {MAX_HEIGHT_PX}: draw fewer "
            f"tiles for each label, or one label"
        )
    sheet: Image = np.full((height, width, 3), _PAPER, dtype=np.uint8)
    _draw_header(sheet, dataset, blocks, span_ns)
    done, total = 0, sum(len(block.chosen) for block in blocks)
    top = _HEADER_PX
    for block, block_height in zip(blocks, heights, strict=True):
        cv2.line(sheet, (_MARGIN_PX, top), (width - _MARGIN_PX, top), _LINE, 1)
        top += _BLOCK_GAP_PX // 2
        _draw_description(sheet, block, top, span_ns)
        for index, sample in enumerate(block.chosen):
            row, column = divmod(index, columns)
            left = _MARGIN_PX + _TEXT_COLUMN_PX + column * (_TILE_PX + _GAP_PX)
            _draw_tile(sheet, dataset, sample, left, top + row * (_TILE_PX + _CAPTION_PX), report)
            done += 1
            on_progress(done, total)
        top += block_height + _BLOCK_GAP_PX - _BLOCK_GAP_PX // 2
    return sheet, report


def _blocks(
    dataset: DatasetReader, per_label: int, label: str | None, report: SheetReport
) -> list[_Block]:
    by_label: dict[str, list[Sample]] = {}
    for sample in [*dataset.samples(), *dataset.unlabelled()]:
        if label is None or sample.label == label:
            by_label.setdefault(sample.label, []).append(sample)
    if not by_label:
        wanted = "" if label is None else f" with the label {label!r}"
        raise DatasetError(f"dataset {dataset.path} has no images{wanted} to draw")
    labels = sorted(name for name in by_label if name)
    report.left_out = labels[MAX_LABELS:]
    report.labels = len(labels[:MAX_LABELS])
    names = {**drawable_names(labels), "": "to be labelled"}
    blocks = []
    for name in [*labels[:MAX_LABELS], *([""] if "" in by_label else [])]:
        samples = sorted(by_label[name], key=lambda sample: (sample.stamp_ns, sample.id))
        stamps = [sample.stamp_ns for sample in samples]
        gone = set(choose_victims(stamps, max(0, len(samples) - per_label)))
        chosen = [sample for index, sample in enumerate(samples) if index not in gone]
        # The two ends of the time go last, also where there is room for one.
        blocks.append(_Block(names[name], samples, chosen[:per_label], not name))
    return blocks


def _block_height(block: _Block, columns: int) -> int:
    return -(-len(block.chosen) // columns) * (_TILE_PX + _CAPTION_PX)


def _draw_header(
    sheet: Image, dataset: DatasetReader, blocks: Sequence[_Block], span_ns: tuple[int, int]
) -> None:
    labels = sum(not block.is_pool for block in blocks)
    images = sum(len(block.samples) for block in blocks)
    room_px = sheet.shape[1] - 2 * _MARGIN_PX
    title = shortened(
        _drawable(f"Dataset {dataset.path}"), 0.62, room_px, thickness=BOLD, keeps_end=True
    )
    draw_text(sheet, title, (_MARGIN_PX, 36), 0.62, _INK, thickness=BOLD)
    dates = f"{utc_minute(span_ns[0])} to {utc_minute(span_ns[1])} UTC"
    named = f", {labels} label{'s' * (labels != 1)}" if labels else ""
    text = (
        f"{images:,} image{'s' * (images != 1)}{named}, {dates}; "
        f"bars: images over that time, each to its own scale"
    )
    draw_text(sheet, shortened(text, 0.42, room_px), (_MARGIN_PX, 62), 0.42, _GREY)


def _draw_description(sheet: Image, block: _Block, top: int, span_ns: tuple[int, int]) -> None:
    room_px = _TEXT_COLUMN_PX - 24
    count = len(block.samples)
    # Escaped names begin alike.
    name = shortened(block.name, 0.58, room_px, thickness=BOLD, keeps_end=True)
    draw_text(sheet, name, (_MARGIN_PX, top + 16), 0.58, _INK, thickness=BOLD)
    text = f"{count:,} image{'s' * (count != 1)}"
    draw_text(sheet, text, (_MARGIN_PX, top + 36), 0.42, _GREY)
    first, last = (utc_minute(block.samples[index].stamp_ns) for index in (0, -1))
    dates = first if first == last else f"{first} - {last}"
    draw_text(sheet, shortened(dates, 0.38, room_px), (_MARGIN_PX, top + 54), 0.38, _GREY)
    colour = _POOL_BAR if block.is_pool else _BAR
    _draw_histogram(sheet, block.samples, top + 62, span_ns, colour)


def _draw_histogram(
    sheet: Image,
    samples: Sequence[Sample],
    top: int,
    span_ns: tuple[int, int],
    colour: tuple[int, int, int],
) -> None:
    first_ns, last_ns = span_ns
    width_ns = last_ns - first_ns + 1
    counts = [0] * _BINS
    for sample in samples:
        counts[(sample.stamp_ns - first_ns) * _BINS // width_ns] += 1
    highest = max(counts)
    base = top + _HISTOGRAM_PX
    for index, count in enumerate(counts):
        if count:
            # One image among thousands is still to be seen.
            height = max(2, round(count / highest * _HISTOGRAM_PX))
            left = _MARGIN_PX + index * _BIN_PX
            sheet[base - height : base, left : left + _BIN_PX - 1] = colour
    sheet[base, _MARGIN_PX : _MARGIN_PX + _BINS * _BIN_PX - 1] = _LINE


def _draw_tile(
    sheet: Image, dataset: DatasetReader, sample: Sample, left: int, top: int, report: SheetReport
) -> None:
    cell = sheet[top : top + _TILE_PX, left : left + _TILE_PX]
    cell[:] = _FRAME
    image = read_image(dataset.path / sample.path)
    if image is None:
        report.unreadable.append(sample)
        cv2.line(cell, (36, 36), (60, 60), _BROKEN, 2, cv2.LINE_AA)
        cv2.line(cell, (60, 36), (36, 60), _BROKEN, 2, cv2.LINE_AA)
    else:
        image = _fitted(image)
        height, width = image.shape[:2]
        y, x = (_TILE_PX - height) // 2, (_TILE_PX - width) // 2
        cell[y : y + height, x : x + width] = image
    caption = str(sample.id)
    middle = left + (_TILE_PX - text_width(caption, 0.34)) // 2
    draw_text(sheet, caption, (middle, top + _TILE_PX + 12), 0.34, _GREY)


def _fitted(image: Image) -> Image:
    """Scale an image to a tile; its proportions stay, and small ones keep their pixels."""
    height, width = image.shape[:2]
    factor = _TILE_PX / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _drawable(text: str) -> str:
    return drawable_names([text])[text]
