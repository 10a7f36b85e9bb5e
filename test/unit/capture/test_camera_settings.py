"""Settings that name cameras, and those that reach the processor."""

from __future__ import annotations

import pytest
from pipeline_parts import frame

from fl_robot_ros.capture.camera_settings import topic_labels, unused_names
from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.privacy_mask import PrivacyMasks
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.labels.labeller import Labeller, LabelRules

WHOLE = "0,0 1,0 1,1 0,1"


def test_masks_and_labels_of_another_name_are_the_topics_own() -> None:
    settings = ClientSettings(
        privacy_masks=(f"camera/image_raw: {WHOLE}",),
        topic_labels=("camera/image_raw: pallet", "image_raw: box", "rear: person"),
    )
    other_names = {"/front/rgb": ("/r1/camera/image_raw", "camera/image_raw"), "/rear": ("rgb",)}
    labeller = Labeller(LabelRules(topic_labels=topic_labels(settings, other_names)))
    masks = PrivacyMasks(settings.privacy_masks, other_names)
    for topic in ("/front/rgb", "/r1/camera/image_raw", "/camera/image_raw/compressed"):
        assert len(masks.of(topic)) == 1, topic
        assert labeller.label_of(topic, 0, 0) == "pallet", topic
    assert masks.of("/rear") == []
    assert labeller.label_of("/rear", 0, 0) == "person"
    assert labeller.label_of("/left", 0, 0) == ""


def test_a_mask_or_label_of_no_camera_is_named() -> None:
    settings = ClientSettings(
        image_topics=("camera/raw",),
        privacy_masks=(f"camra/raw: {WHOLE}", f"camera/raw: {WHOLE}"),
        topic_labels=("rear: pallet", "/front/rgb: box"),
    )
    lines = unused_names(settings, ["camera/raw", "/front/rgb"])
    assert lines == [
        "privacy_masks names camra/raw, which is none of image_topics (camera/raw)",
        "topic_labels names rear, which is none of image_topics (camera/raw)",
    ]


def test_settings_reach_the_processor() -> None:
    assert FrameProcessor(ClientSettings(min_brightness=255.0)).process(frame(0)).verdict == "dark"
    sizes = []
    for quality in (95, 5):
        sample = FrameProcessor(ClientSettings(jpeg_quality=quality)).process(frame(0)).sample
        assert sample is not None
        sizes.append(len(sample.image_bytes))
    assert sizes[0] > sizes[1]


def test_an_invalid_mask_is_refused() -> None:
    with pytest.raises(SettingError, match="privacy mask"):
        FrameProcessor(ClientSettings(privacy_masks=("camera",)))
