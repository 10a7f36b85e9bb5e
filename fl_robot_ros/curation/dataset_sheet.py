"""A contact sheet of a dataset: what each label looks like, and when its images were taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2

from fl_robot_ros.curation.contact_sheet import (
    GREY,
    INK,
    LINE,
    Colour,
    Image,
    draw_image,
    empty_sheet,
)
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
LABEL_BAR: Colour = (46, 112, 168)
POOL_BAR: Colour = (176, 122, 44)

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


@dataclass
class SheetReport:
    """What a sheet shows, and what it leaves out.

    Attributes:
        labels: Number of labels on the sheet, without the review pool.
        left_out: Labels without room on the sheet.
        unreadable: Samples on the sheet whose image cannot be read.
    """

    labels: int = 0
    left_out: list[str] = field(default_factory=list)
    unreadable: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class _Block:
    """One label on the sheet: its drawable name, its samples by time, and those with a tile."""

    name: str
    samples: Sequence[Sample]
    chosen: Sequence[Sample]
    is_pool: bool

    def height_px(self, columns: int) -> int:
        return -(-len(self.chosen) // columns) * (_TILE_PX + _CAPTION_PX)


def draw_dataset_sheet(
    dataset: DatasetReader,
    *,
    per_label: int = COLUMNS,
    label: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Image, SheetReport]:
    """Draw a block for each label, and one for the review pool at the end.

    A block has the label's name as `drawable_names` writes it, its number of samples, the dates of
    the first and the last, a histogram over the time span of the sheet, scaled to its own highest
    bar, and tiles spread over the label's time, with the ids of their samples.

    Args:
        dataset: The dataset.
        per_label: Most tiles of a label, 1 or more.
        label: The only label to draw, "" for the review pool; None: all.
        on_progress: Called after each tile with the number done and the total.

    Returns:
        The sheet, uint8 (H, W, 3), RGB, and its report.

    Raises:
        DatasetError: There is nothing to draw, or too much, or the index cannot be read.
    """
    report = SheetReport()
    blocks = _blocks(dataset, per_label, label, report)
    times = [item.stamp_ns for block in blocks for item in (block.samples[0], block.samples[-1])]
    span_ns = min(times), max(times)
    columns = min(COLUMNS, max(_MIN_TILES, *(len(block.chosen) for block in blocks)))
    width = 2 * _MARGIN_PX + _TEXT_COLUMN_PX + columns * (_TILE_PX + _GAP_PX) - _GAP_PX
    height = _HEADER_PX + _FOOTER_PX
    height += sum(block.height_px(columns) + _BLOCK_GAP_PX for block in blocks)
    if height > MAX_HEIGHT_PX:
        raise DatasetError(
            f"the sheet would be {height} px high; expected at most {MAX_HEIGHT_PX}: draw fewer "
            f"tiles for each label, or one label"
        )
    sheet = empty_sheet(height, width)
    _draw_header(sheet, dataset, blocks, span_ns)
    done, total = 0, sum(len(block.chosen) for block in blocks)
    top = _HEADER_PX
    for block in blocks:
        cv2.line(sheet, (_MARGIN_PX, top), (width - _MARGIN_PX, top), LINE, 1)
        top += _BLOCK_GAP_PX // 2
        _draw_description(sheet, block, top, span_ns)
        for index, sample in enumerate(block.chosen):
            row, column = divmod(index, columns)
            left = _MARGIN_PX + _TEXT_COLUMN_PX + column * (_TILE_PX + _GAP_PX)
            image = read_image(dataset.path / sample.path)
            if image is None:
                report.unreadable.append(sample)
            _draw_tile(sheet, image, str(sample.id), left, top + row * (_TILE_PX + _CAPTION_PX))
            done += 1
            on_progress(done, total)
        top += block.height_px(columns) + _BLOCK_GAP_PX - _BLOCK_GAP_PX // 2
    return sheet, report


def spread_over_time(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Choose up to `count` of a label's samples, which are sorted by time, spread over it."""
    stamps = [sample.stamp_ns for sample in samples]
    left_out = set(choose_victims(stamps, max(0, len(samples) - count)))
    chosen = [sample for index, sample in enumerate(samples) if index not in left_out]
    # The first and the last sample are never victims.
    return chosen[:count]


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
        blocks.append(_Block(names[name], samples, spread_over_time(samples, per_label), not name))
    return blocks


def _draw_header(
    sheet: Image, dataset: DatasetReader, blocks: Sequence[_Block], span_ns: tuple[int, int]
) -> None:
    labels = sum(not block.is_pool for block in blocks)
    images = sum(len(block.samples) for block in blocks)
    room_px = sheet.shape[1] - 2 * _MARGIN_PX
    title = f"Dataset {dataset.path}"
    _write(sheet, drawable_names([title])[title], 36, 0.62, room_px, is_title=True)
    dates = f"{utc_minute(span_ns[0])} to {utc_minute(span_ns[1])} UTC"
    named = f", {labels} label{'s' * (labels != 1)}" if labels else ""
    text = (
        f"{images:,} image{'s' * (images != 1)}{named}, {dates}; "
        f"bars: images over that time, each to its own scale"
    )
    _write(sheet, text, 62, 0.42, room_px)


def _draw_description(sheet: Image, block: _Block, top: int, span_ns: tuple[int, int]) -> None:
    room_px = _TEXT_COLUMN_PX - 24
    count = len(block.samples)
    _write(sheet, block.name, top + 16, 0.58, room_px, is_title=True)
    _write(sheet, f"{count:,} image{'s' * (count != 1)}", top + 36, 0.42, room_px)
    first, last = (utc_minute(block.samples[index].stamp_ns) for index in (0, -1))
    _write(sheet, first if first == last else f"{first} - {last}", top + 54, 0.38, room_px)
    _draw_histogram(sheet, block, top + 62 + _HISTOGRAM_PX, span_ns)


def _draw_histogram(sheet: Image, block: _Block, base: int, span_ns: tuple[int, int]) -> None:
    first_ns, last_ns = span_ns
    counts = [0] * _BINS
    for sample in block.samples:
        counts[(sample.stamp_ns - first_ns) * _BINS // (last_ns - first_ns + 1)] += 1
    for index, count in enumerate(counts):
        if count:
            # One image among thousands stays visible.
            height = max(2, round(count / max(counts) * _HISTOGRAM_PX))
            left = _MARGIN_PX + index * _BIN_PX
            colour = POOL_BAR if block.is_pool else LABEL_BAR
            sheet[base - height : base, left : left + _BIN_PX - 1] = colour
    sheet[base, _MARGIN_PX : _MARGIN_PX + _BINS * _BIN_PX - 1] = LINE


def _draw_tile(sheet: Image, image: Image | None, caption: str, left: int, top: int) -> None:
    draw_image(sheet, image, left, top, _TILE_PX)
    middle = left + (_TILE_PX - text_width(caption, 0.34)) // 2
    draw_text(sheet, caption, (middle, top + _TILE_PX + 12), 0.34, GREY)


def _write(
    sheet: Image, text: str, baseline: int, scale: float, room_px: int, *, is_title: bool = False
) -> None:
    """Write a line at the left margin, shortened to the room; a title in the middle."""
    thickness = BOLD if is_title else 1
    # The end of a title is kept, because escaped names and paths begin alike.
    text = shortened(text, scale, room_px, thickness=thickness, keeps_end=is_title)
    colour = INK if is_title else GREY
    draw_text(sheet, text, (_MARGIN_PX, baseline), scale, colour, thickness=thickness)
