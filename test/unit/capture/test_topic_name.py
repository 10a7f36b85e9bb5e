"""Which camera a written name means."""

from __future__ import annotations

import pytest

from fl_robot_ros.capture.topic_name import matching_names, topic_matches


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
