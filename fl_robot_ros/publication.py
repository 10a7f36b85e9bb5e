"""When a robot publishes a delivered model, and in which files: a part of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fl_robot_ros.config import INT8_FILE, ClientSettings


@dataclass(frozen=True)
class Publication:
    """What the client's settings ask of a model before it becomes the current one.

    Attributes:
        publish_if: `not_worse`, `better_by` or `always`.
        margin: Accuracy that may be lost, or must be gained, 0 to 1.
        guarded_classes: Names of classes that must not lose.
        first_model_min_accuracy: Lowest accuracy of a first model, 0 to 1.
        max_latency_ms: Longest median time for one image in ms; 0: no limit.
        export_int8: Whether a version has an int8 file too.
        is_int8_published: Whether that file is the one that robots run.
    """

    publish_if: str
    margin: float
    guarded_classes: tuple[str, ...]
    first_model_min_accuracy: float
    max_latency_ms: float
    export_int8: bool
    is_int8_published: bool

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> Publication:
        """Take the client's settings."""
        return cls(
            settings.publish_if,
            settings.publish_margin,
            settings.guarded_classes,
            settings.first_model_min_accuracy,
            settings.max_latency_ms,
            settings.export_int8,
            settings.published_file == INT8_FILE,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Publication:
        """Take the fields as JSON gives them.

        Raises:
            TypeError: A field is missing or unknown.
        """
        return cls(**{**values, "guarded_classes": tuple(values["guarded_classes"])})
