"""From a name to a source: a folder, a video, a camera or a rosbag."""

from __future__ import annotations

import stat
from pathlib import Path

from fl_robot_ros.bags.bag_files import is_bag
from fl_robot_ros.errors import SourceError
from fl_robot_ros.playback.bag_source import BagSource
from fl_robot_ros.playback.image_source import (
    FOLDER_RATE_HZ,
    CameraSource,
    FolderSource,
    VideoSource,
)
from fl_robot_ros.playback.source import Source


def open_source(source: str, rate_hz: float = 0.0) -> Source:
    """Open the source of a name.

    Args:
        source: Number or device file of a camera, folder of images, video file or URL, or
            rosbag (its folder, or one .mcap, .db3 or .bag file); ~ is expanded.
        rate_hz: Frames per second of a folder or camera; 0: 5 of a folder, all of a camera.

    Raises:
        SourceError: The source is missing or cannot be opened.
    """
    text = source.strip()
    if text.isdecimal():
        return CameraSource(int(text), rate_hz)
    if "://" in text:
        return VideoSource(text)
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise SourceError(
            f"there is no {source!r}; expected a camera number or device, a folder of images, "
            "a video file or a rosbag"
        )
    if is_bag(path):
        return BagSource(path)
    if path.is_dir():
        return FolderSource(path, rate_hz or FOLDER_RATE_HZ)
    if stat.S_ISCHR(path.stat().st_mode):
        return CameraSource(str(path), rate_hz)
    return VideoSource(str(path))
