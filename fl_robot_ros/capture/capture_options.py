"""What the settings of a client say about its capture, live and from bags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.privacy_mask import PrivacyMasks
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.images.image_quality import QualityRules
from fl_robot_ros.labels.labeller import LabelRules, parse_topic_labels
from fl_robot_ros.name_list import name_list
from fl_robot_ros.topic_name import matching_names

_BYTES_PER_MB = 1_000_000

OtherNames = Mapping[str, Sequence[str]]


class PipelineOptions(TypedDict):
    """Arguments of `CapturePipeline`."""

    processor: FrameProcessor
    sample_rate_hz: float
    queue_size: int
    label_rules: LabelRules
    label_settle_sec: float
    keeps_unlabelled: bool
    disk_reserve_bytes: int
    threads: int


def pipeline_options(
    settings: ClientSettings,
    other_names: OtherNames | None = None,
    decode: Callable[[Frame], NDArray[np.uint8]] = decode_frame,
) -> PipelineOptions:
    """Return what the capture pipeline is made with.

    Args:
        settings: The settings.
        other_names: By which other names a topic is known, as before a remapping: masks and
            labels of these are the topic's too.
        decode: Decodes frames, into the same pixels as `decode_frame`.

    Raises:
        SettingError: A fixed label or a mask is not of its form.
    """
    labels = parse_topic_labels(settings.topic_labels)
    return {
        "processor": FrameProcessor(
            jpeg_quality=settings.jpeg_quality,
            rules=QualityRules(
                min_brightness=settings.min_brightness,
                max_brightness=settings.max_brightness,
                min_sharpness=settings.min_sharpness,
                min_difference_bits=settings.min_difference_bits,
            ),
            masks=PrivacyMasks(settings.privacy_masks, other_names),
            decode=decode,
        ),
        "sample_rate_hz": settings.sample_rate_hz,
        "queue_size": settings.queue_size,
        "label_rules": LabelRules(
            settings.label_hold_sec,
            settings.label_lookback_sec,
            {**labels, **_labels_by_other_name(labels, other_names or {})},
        ),
        "label_settle_sec": settings.label_settle_sec,
        "keeps_unlabelled": settings.review_pool_size > 0,
        "disk_reserve_bytes": settings.disk_reserve_mb * _BYTES_PER_MB,
        "threads": settings.encoder_threads,
    }


def unused_names(settings: ClientSettings, topics: Iterable[str]) -> list[str]:
    """Return a line for each mask and fixed label of a camera that is none of the topics.

    Args:
        settings: The settings, of the right form.
        topics: The cameras' topics, by all their names.
    """
    known = list(topics)
    written = {
        "privacy_masks": PrivacyMasks(settings.privacy_masks).names,
        "topic_labels": list(parse_topic_labels(settings.topic_labels)),
    }
    return [
        f"{setting} names {name}, which is none of image_topics "
        f"({name_list(settings.image_topics) or 'none'})"
        for setting, names in written.items()
        for name in names
        if not any(matching_names(topic, (name,)) for topic in known)
    ]


def _labels_by_other_name(labels: Mapping[str, str], other_names: OtherNames) -> dict[str, str]:
    """Return the labels of topics that have none by their own name, but by another."""
    found = {}
    for topic, others in other_names.items():
        names = [name for other in others for name in matching_names(other, labels)]
        if names and not matching_names(topic, labels):
            found[topic] = labels[names[0]]
    return found
