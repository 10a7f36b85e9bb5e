"""Settings that name cameras: fixed labels and privacy masks."""

from __future__ import annotations

from collections.abc import Iterable

from fl_robot_ros.capture.privacy_mask import OtherNames, PrivacyMasks
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.labels.labeller import parse_topic_labels
from fl_robot_ros.name_list import name_list
from fl_robot_ros.topic_name import matching_names


def topic_labels(
    settings: ClientSettings, other_names: OtherNames | None = None
) -> dict[str, str]:
    """Return the fixed labels by the names of their topics.

    Args:
        settings: The settings.
        other_names: Other names of topics, as before a remapping: fixed labels of
            these are the topic's too, where it has none by its own name.

    Raises:
        SettingError: A fixed label is invalid.
    """
    written = parse_topic_labels(settings.topic_labels)
    labels = dict(written)
    for topic, others in (other_names or {}).items():
        names = [name for other in others for name in matching_names(other, written)]
        if names and not matching_names(topic, written):
            labels[topic] = written[names[0]]
    return labels


def unused_names(settings: ClientSettings, topics: Iterable[str]) -> list[str]:
    """Return a line for each mask and fixed label whose camera is none of the topics.

    Args:
        settings: The settings.
        topics: The cameras' topics, by all their names.

    Raises:
        SettingError: A privacy mask or a fixed label is invalid.
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
