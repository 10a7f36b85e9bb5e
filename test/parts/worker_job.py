"""A worker's job for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker_link.job import FreezeRequest, Job

MAX_ID = 10**9  # every sample


def make_job(folder: Path, **changes: Any) -> Job:
    """Return the job of a robot whose data lies below a folder; `changes` replace fields."""
    values: dict[str, Any] = {
        "robot": folder.name,
        "server_address": "127.0.0.1:8000",
        "root_certificates": "",
        "enrolment": "",
        "connect_timeout_sec": 120.0,
        "server_timeout_sec": 600.0,  # so that a worker that waits for a server that ended is seen
        "source": DataSource(SourceKind.CAPTURE, "", 0, 1, 0.0, 0.25),
        "freeze": FreezeRequest(
            str(folder / "dataset"),
            str(folder / "snapshots"),
            MAX_ID,
            segment_sec=3.0,
            gap_sec=0.0,
        ),
        "models_dir": str(folder / "models"),
        "keep_versions": 5,
        # What a few epochs teach is delivered too, however little it is.
        "publication": Publication.from_settings(ClientSettings(publish_if="always")),
        "threads": 0,
        "nice": 0,
        "memory_limit_mb": 0,
    }
    return Job(**{**values, **changes})
