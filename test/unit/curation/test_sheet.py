"""The contact sheet of a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_images import encoded, filled

from fl_robot_ros.curation import sheet as sheet_module
from fl_robot_ros.curation.sheet import draw_dataset_sheet
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError


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
        pool, only = draw_dataset_sheet(dataset, label="")
        assert only.labels == 0
        assert pool.shape[0] < sheet.shape[0]


def test_tiles_are_spread_over_the_labels_time(tmp_path: Path) -> None:
    with Dataset(filled(tmp_path, *["cat"] * 101)) as dataset:
        (block,) = sheet_module._blocks(dataset, 5, None, sheet_module.SheetReport())
        assert [sample.id for sample in block.chosen][::4] == [1, 101]
        gaps = np.diff([sample.id for sample in block.chosen])
        assert gaps.max() <= 2 * gaps.min()
        (block,) = sheet_module._blocks(dataset, 1, None, sheet_module.SheetReport())
        assert len(block.chosen) == 1


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
        monkeypatch.setattr(sheet_module, "MAX_LABELS", 2)
        assert draw_dataset_sheet(dataset)[1].left_out == ["owl"]
        monkeypatch.setattr(sheet_module, "MAX_HEIGHT_PX", 300)
        with pytest.raises(DatasetError, match="px high"):
            draw_dataset_sheet(dataset)


def test_labels_that_begin_alike_are_drawn_differently(tmp_path: Path) -> None:
    sheets = []
    for end in "\u4e00\u4e8c":
        label = f"\u65e5\u672c\u8a9e\u306e\u540d\u524d{end}"
        with Dataset(filled(tmp_path / end / "data", label)) as dataset:
            sheets.append(draw_dataset_sheet(dataset)[0][80:])
    assert not np.array_equal(*sheets)
