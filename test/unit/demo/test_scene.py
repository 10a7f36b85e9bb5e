from itertools import groupby, islice, pairwise

import cv2
import numpy as np
import pytest

from fl_robot_ros.demo.camera import View, pan
from fl_robot_ros.demo.glyph import SPLITS, DigitGlyphs, ShapeGlyphs
from fl_robot_ros.demo.scene import MAX_APPEARANCE_FRAMES, SCENE_NAMES, Scene
from fl_robot_ros.demo.sign import BOARD_WIDTH_PX, SIGN_HEIGHT_PX, SIGN_WIDTH_PX
from fl_robot_ros.errors import SettingError


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {name: Scene(name) for name in SCENE_NAMES}


def test_each_robot_misses_classes_and_both_together_see_all(scenes: dict[str, Scene]) -> None:
    for scene in scenes.values():
        first, second = (set(scene.robot_classes[robot]) for robot in ("robot1", "robot2"))
        assert first | second == set(scene.classes)
        assert first & second
        assert first - second
        assert second - first


def test_digits_and_shapes_have_the_promised_classes(scenes: dict[str, Scene]) -> None:
    assert scenes["digits"].classes == tuple("0123456789")
    assert scenes["digits"].robot_classes["robot2"] == tuple("3456789")
    assert scenes["shapes"].classes == ("circle", "square", "star", "triangle")


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_frames_are_images_of_the_promised_form(name: str, scenes: dict[str, Scene]) -> None:
    for rgb, label in scenes[name].frames("test", 20, 3):
        assert rgb.shape == (240, 320, 3)
        assert rgb.dtype == np.uint8
        assert rgb.flags.c_contiguous
        assert label in ("", *scenes[name].classes)


@pytest.mark.parametrize("count", [0, 1, 37])
def test_count_counts_labelled_frames(count: int, scenes: dict[str, Scene]) -> None:
    labels = [label for _, label in scenes["shapes"].frames("robot1", count, 0)]
    assert sum(label != "" for label in labels) == count
    assert not labels or (labels[0] != "" and labels[-1] != "")


@pytest.mark.parametrize("split", ["robot1", "robot2", "test"])
def test_a_split_shows_its_classes_equally_often_in_the_fleet(
    split: str, scenes: dict[str, Scene]
) -> None:
    scene = scenes["digits"]
    labels = [label for _, label in scene.frames(split, 200, 1)]
    signs = [label for label, _ in groupby(labels) if label]
    assert set(signs) == set(scene.robot_classes.get(split, scene.classes))
    lengths = [len(list(run)) for label, run in groupby(labels) if label]
    assert max(lengths) <= MAX_APPEARANCE_FRAMES
    shared, alone = signs.count("4"), signs.count({"robot1": "1", "robot2": "8"}.get(split, "1"))
    expected = 1 if split == "test" else 2
    assert abs(alone - expected * shared) <= 2


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(
    scenes: dict[str, Scene],
) -> None:
    def drive(scene: Scene, seed: int) -> list[tuple[bytes, str]]:
        return [(rgb.tobytes(), label) for rgb, label in scene.frames("robot1", 12, seed)]

    assert drive(scenes["digits"], 5) == drive(Scene("digits"), 5)
    assert drive(scenes["digits"], 5) != drive(scenes["digits"], 6)


def test_no_scan_is_in_two_splits() -> None:
    digits = DigitGlyphs()
    scans = [
        digits.scan_number(label, split, index)
        for label in digits.classes
        for split in SPLITS
        for index in range(digits.pool_size(label, split))
    ]
    assert len(scans) == len(set(scans)) == 1797


def test_no_drawing_of_a_shape_is_in_two_splits() -> None:
    shapes = ShapeGlyphs()
    drawings = {
        shapes.glyph("star", split, index).tobytes() for split in SPLITS for index in range(5)
    }
    assert len(drawings) == 15


def test_a_sign_fills_most_of_the_image(scenes: dict[str, Scene]) -> None:
    # The boards are lighter than anything behind them can be on average.
    shares = [
        float(np.mean(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) > 150))
        for rgb, label in scenes["digits"].frames("test", 30, 0)
        if label
    ]
    assert np.median(shares) > 0.5


def test_neighbouring_frames_of_a_sign_differ_a_little(scenes: dict[str, Scene]) -> None:
    frames = list(islice(scenes["digits"].frames("test", 3, 0), 3))
    difference = cv2.absdiff(frames[0][0], frames[1][0])
    assert 0.0 < float(difference.mean()) < 40.0


def test_a_view_straight_on_puts_the_sign_where_it_says() -> None:
    view = View(10.0, -5.0, 200.0, 0.0, 0.0, 0.0, 1.0, 1.0)
    edges = np.array([[[SIGN_WIDTH_PX / 2 - BOARD_WIDTH_PX / 2, SIGN_HEIGHT_PX / 2]]])
    seen = cv2.perspectiveTransform(edges, view.homography())
    np.testing.assert_allclose(seen[0, 0], (160 + 10 - BOARD_WIDTH_PX / 2, 120 - 5))


def test_the_nearer_edge_of_a_turned_sign_is_larger() -> None:
    view = View(0.0, 0.0, 200.0, 0.4, 0.0, 0.0, 1.0, 1.0)
    corners = np.array(
        [[[0, 0], [0, SIGN_HEIGHT_PX], [SIGN_WIDTH_PX, 0], [SIGN_WIDTH_PX, SIGN_HEIGHT_PX]]],
        np.float64,
    )
    left_top, left_bottom, right_top, right_bottom = cv2.perspectiveTransform(
        corners, view.homography()
    )[0]
    left, right = left_bottom[1] - left_top[1], right_bottom[1] - right_top[1]
    # A turn to the right moves the right edge towards the camera.
    assert right > left * 1.2


def test_a_pan_starts_and_ends_where_it_should() -> None:
    start = View(0.0, 0.0, 200.0, 0.0, 0.0, 0.0, 1.0, 1.0)
    end = View(20.0, 10.0, 220.0, 0.2, 0.1, 0.1, 0.8, 0.5)
    views = pan(start, end, 9)
    assert views[0] == start
    assert views[4].x_px == pytest.approx(10.0)
    assert views[-1] == end
    assert all(a.x_px <= b.x_px for a, b in pairwise(views))


def test_wrong_arguments_are_named(scenes: dict[str, Scene]) -> None:
    with pytest.raises(SettingError, match="'letters'; expected digits or shapes"):
        Scene("letters")
    with pytest.raises(SettingError, match="'robot9'"):
        scenes["digits"].frames("robot9", 1, 0)
    with pytest.raises(SettingError, match="-1"):
        scenes["digits"].frames("test", -1, 0)
