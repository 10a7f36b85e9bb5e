"""The document of `fl_predict --json`; docs/models.md describes its names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fl_robot_ros.cli.classifier import Classifier
from fl_robot_ros.cli.model_comparison import Comparison
from fl_robot_ros.cli.scoreboard import Scoreboard

SCHEMA_VERSION = 1


def describe_predictions(
    board: Scoreboard, model: Classifier, images: Path, unreadable: int, notes: list[str]
) -> dict[str, Any]:
    """Return one model's predictions, ready for JSON.

    Args:
        board: The predictions.
        model: The model.
        images: Where the images come from.
        unreadable: Number of images that could not be read.
        notes: What people should know of the images.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"version": model.version, "path": str(model.path)},
        "images": {
            "path": str(images),
            "predicted": len(board.outcomes),
            "compared": len(board.compared),
            "unreadable": unreadable,
            "unknown_labels": dict(board.foreign),
            "notes": notes,
        },
        "right": board.right,
        "accuracy": board.accuracy,
        "classes": list(board.classes),
        "per_class": {
            score.name: {
                "images": score.images,
                "right": score.right,
                "predicted": score.predicted,
                "recall": score.recall,
                "precision": score.precision,
            }
            for score in board.scores()
        },
        "confusion": board.confusion.tolist(),
        "predictions": [
            {
                "image": item.name,
                "label": item.label or None,
                "predicted": item.predicted,
                "confidence": item.confidence,
            }
            for item in board.outcomes
        ],
    }


def describe_comparison(comparison: Comparison, model: Classifier) -> dict[str, Any]:
    """Return how a second model compares with the first, ready for JSON."""
    return {
        "model": {"version": model.version, "path": str(model.path)},
        "compared": len(comparison.second.compared),
        "accuracy_first": comparison.first.accuracy,
        "accuracy_second": comparison.second.accuracy,
        "only_first_right": comparison.only_first,
        "only_second_right": comparison.only_second,
        "p_value": comparison.chance,
        "per_class": {
            item.name: {
                "images": item.images,
                "recall_first": item.before,
                "recall_second": item.after,
            }
            for item in comparison.recalls()
        },
        "disagreements": [
            {
                "image": one.name,
                "label": one.label or None,
                "first": one.predicted,
                "second": two.predicted,
            }
            for one, two in comparison.disagreements
        ],
    }
