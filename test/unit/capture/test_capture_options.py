"""From a client's settings to its capture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pipeline_parts import frame

from fl_robot_ros.capture.capture_options import pipeline_options, unused_names
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.labels.labeller import Labeller

WHOLE = "0,0 1,0 1,1 0,1"


def label_of(options: dict[str, Any], topic: str) -> str:
    return Labeller(options["label_rules"]).label_of(topic, 0, 0)


def test_masks_and_labels_of_another_name_are_the_topics_own() -> None:
    settings = ClientSettings(
        privacy_masks=(f"camera/image_raw: {WHOLE}",),
        topic_labels=("camera/image_raw: pallet", "image_raw: box", "rear: person"),
    )
    other_names = {"/front/rgb": ("/r1/camera/image_raw", "camera/image_raw"), "/rear": ("rgb",)}
    options = pipeline_options(settings, other_names)
    masks = options["processor"]._masks
    for topic in ("/front/rgb", "/r1/camera/image_raw", "/camera/image_raw/compressed"):
        assert len(masks.of(topic)) == 1, topic
        assert label_of(options, topic) == "pallet", topic
    assert masks.of("/rear") == []
    assert label_of(options, "/rear") == "person"
    assert label_of(options, "/left") == ""


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
    dark = pipeline_options(ClientSettings(min_brightness=255.0))["processor"]
    assert dark.process(frame(0)).verdict == "dark"
    fine, coarse = (
        pipeline_options(ClientSettings(jpeg_quality=quality))["processor"].process(frame(0))
        for quality in (95, 5)
    )
    assert len(fine.sample.image_bytes) > len(coarse.sample.image_bytes)
    black = pipeline_options(ClientSettings(), decode=lambda _: np.zeros((8, 8, 3), np.uint8))
    assert black["processor"].process(frame(0)).sample.width == 8


def test_a_mask_of_another_form_is_refused() -> None:
    with pytest.raises(SettingError, match="privacy mask"):
        pipeline_options(ClientSettings(privacy_masks=("camera",)))
