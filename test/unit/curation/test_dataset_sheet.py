"""The contact sheet of a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_images import encoded, filled
from numpy.typing import NDArray

from fl_robot_ros.curation import dataset_sheet
from fl_robot_ros.curation.contact_sheet import Colour, Image
from fl_robot_ros.curation.dataset_sheet import (
    LABEL_BAR,
    POOL_BAR,
    draw_dataset_sheet,
    spread_over_time,
)
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError


def rows_of(sheet: Image, colour: Colour) -> NDArray[np.int64]:
    """Return the rows with pixels of a colour."""
    return np.flatnonzero((sheet == colour).all(axis=2).any(axis=1))


def test_every_label_has_its_block_and_the_pool_comes_last(tmp_path: Path) -> None:
    labels = ["cat"] * 30 + ["dog"] + ["", ""]
    with Dataset(filled(tmp_path, *labels)) as dataset:
        seen: list[tuple[int, int]] = []
        sheet, report = draw_dataset_sheet(
            dataset, per_label=5, on_progress=lambda done, total: seen.append((done, total))
        )
        assert (report.labels, report.unreadable, report.left_out) == (2, [], [])
        assert seen == [(done, 8) for done in range(1, 9)]
        assert sheet.dtype == np.uint8
        bars, pool_bars = rows_of(sheet, LABEL_BAR), rows_of(sheet, POOL_BAR)
        # One label above the other, and the pool below both.
        assert np.flatnonzero(np.diff(bars) > 30).size == 1
        assert bars.max() < pool_bars.min()
        pool, only = draw_dataset_sheet(dataset, label="")
        assert only.labels == 0
        assert pool.shape[0] < sheet.shape[0]


def test_tiles_are_spread_over_the_labels_time(tmp_path: Path) -> None:
    with Dataset(filled(tmp_path, *["cat"] * 101)) as dataset:
        samples = dataset.samples()
    ids = [sample.id for sample in spread_over_time(samples, 5)]
    assert ids[::4] == [1, 101]
    gaps = np.diff(ids)
    assert gaps.max() <= 2 * gaps.min()
    assert len(spread_over_time(samples, 1)) == 1


def test_unreadable_images_are_drawn_and_named(tmp_path: Path) -> None:
    with Dataset(filled(tmp_path, *["cat"] * 3)) as dataset:
        first, second, third = dataset.samples()
        (dataset.path / first.path).unlink()
        (dataset.path / second.path).write_bytes(b"no image")
        (dataset.path / third.path).write_bytes(encoded(1))
        _, report = draw_dataset_sheet(dataset)
        assert report.unreadable == [first, second]


def test_nothing_or_too_much_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Dataset(tmp_path / "empty") as dataset:
        with pytest.raises(DatasetError, match="no images"):
            draw_dataset_sheet(dataset)
    with Dataset(filled(tmp_path / "data", "cat", "dog", "owl")) as dataset:
        with pytest.raises(DatasetError, match="fox"):
            draw_dataset_sheet(dataset, label="fox")
        monkeypatch.setattr(dataset_sheet, "MAX_LABELS", 2)
        assert draw_dataset_sheet(dataset)[1].left_out == ["owl"]
        monkeypatch.setattr(dataset_sheet, "MAX_HEIGHT_PX", 300)
        with pytest.raises(DatasetError, match="px high"):
            draw_dataset_sheet(dataset)


def test_the_end_of_a_long_label_is_drawn(tmp_path: Path) -> None:
    """In whatever letters: where there is no glyph, names are escaped and begin alike."""
    names = []
    for end in "\u4e00\u4e8c":
        label = "\u65e5\u672c\u8a9e\u306e\u540d\u524d" * 5 + end
        with Dataset(filled(tmp_path / end / "data", label)) as dataset:
            sheet, _ = draw_dataset_sheet(dataset)
        names.append(sheet[90:120, :310])
    inked = np.nonzero((names[0] < 128).any(axis=(0, 2)))[0]
    differing = np.nonzero((names[0] != names[1]).any(axis=(0, 2)))[0]
    assert differing.size
    # The end follows two dots, about in the middle.
    assert differing.min() > inked.min() + (inked.max() - inked.min()) / 3
