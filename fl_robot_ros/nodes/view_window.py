"""A window of OpenCV, where there is a display."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import cv2
import numpy as np
from numpy.typing import NDArray

_PROBE_SEC = 20.0
# A library of windows ends the process where it cannot reach the display.
_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"
_ESCAPE = 27
# A person may make the window any size; this is how wide it opens.
_LEAST_WIDTH_PX, _MOST_WIDTH_PX = 640, 1280


def has_display() -> bool:
    """Say whether a window can be shown: OpenCV has windows, and the display can be reached."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    # The wheels for machines without a display are built without windows.
    if re.search(r"^\s*GUI:\s*NONE", cv2.getBuildInformation(), re.MULTILINE):
        return False
    command = [sys.executable, "-c", _PROBE]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_SEC, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class ViewWindow:
    """A window; all calls must come from one thread.

    Attributes:
        title: Title of the window.
    """

    def __init__(self, title: str) -> None:
        """Take the title; the window opens with the first image."""
        self.title = title
        self._is_open = False

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show an image, uint8 (H, W, 3), RGB."""
        if not self._is_open:
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(self.title, flags)
            height, width = image.shape[:2]
            wanted = min(max(width, _LEAST_WIDTH_PX), _MOST_WIDTH_PX)
            cv2.resizeWindow(self.title, wanted, round(wanted * height / width))
            self._is_open = True
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def is_closed(self) -> bool:
        """Serve the window; say whether a person closed it, or pressed q or Escape."""
        if not self._is_open:
            return False
        key = cv2.waitKey(1) & 0xFF
        is_visible = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1
        return key in (ord("q"), _ESCAPE) or not is_visible

    def close(self) -> None:
        """Close the window."""
        if self._is_open:
            cv2.destroyWindow(self.title)
            self._is_open = False
