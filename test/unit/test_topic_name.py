"""Which camera a written name means."""

from __future__ import annotations

import pytest

from fl_robot_ros.topic_name import matching_names, topic_matches


@pytest.mark.parametrize(
    ("topic", "name", "is_match"),
    [
        ("/camera/image", "camera/image", True),
        ("/robot1/camera/image", "/camera/image", True),
        ("camera/image", "/camera/image/", True),
        ("/rear_camera/image", "camera/image", False),
        ("/camera/image/raw", "camera/image", False),
        ("/camera/image", "", False),
    ],
)
def test_names_match_with_any_namespace_before_them(topic: str, name: str, is_match: bool) -> None:
    assert topic_matches(topic, ["other", name]) is is_match


def test_longest_name_comes_first() -> None:
    names = ["image", "other", "left/image", "r/left/image"]
    assert matching_names("/r/left/image", names) == ["r/left/image", "left/image", "image"]


@pytest.mark.parametrize(
    ("topic", "name", "is_camera"),
    [
        ("/camera/image/compressed", "camera/image", True),
        ("/robot1/camera/image/compressed", "/camera/image/", True),
        ("/camera/image/compressedDepth", "camera/image", True),
        ("/camera/image", "camera/image/compressed", True),
        ("/camera/image_compressed", "camera/image", False),
        ("/camera/image/rect", "camera/image", False),
        ("/rear_camera/image/compressed", "camera/image", False),
        ("/compressed", "compressed", True),
    ],
)
def test_a_cameras_name_means_its_compressed_topic_too(
    topic: str, name: str, is_camera: bool
) -> None:
    assert matching_names(topic, [name]) == [name] * is_camera


def test_a_topics_own_name_comes_before_that_of_its_camera() -> None:
    names = ["camera/image", "image/compressed", "camera/image/compressed"]
    longest_first = [names[2], names[1], names[0]]
    assert matching_names("/camera/image/compressed", names) == longest_first
    assert matching_names("/camera/image", names)[0] == "camera/image"


def test_topics_to_read_are_named_exactly() -> None:
    assert not topic_matches("/camera/image/compressed", ["camera/image"])
