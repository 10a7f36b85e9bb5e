"""Privacy masks."""

from __future__ import annotations

import numpy as np
import pytest

from fl_robot_ros.capture.privacy_mask import PrivacyMasks, painted
from fl_robot_ros.errors import SettingError


def test_everything_that_a_polygon_touches_is_black() -> None:
    masks = PrivacyMasks(["camera/raw: 0,0.5 1,0.5 1,1 0,1", "/camera/raw: 0,0 0.25,0 0,0.25"])
    white = np.full((20, 40, 3), 255, np.uint8)
    black = (painted(white, masks.of("/robot1/camera/raw")) == 0).all(axis=2)
    assert black[10:].all()
    assert not black[:10, 12:].any()
    assert black[0, :9].all()
    assert white.min() == 255
    assert masks.of("/rear/raw") == []
    assert masks.of("/rear_camera/raw") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "camera",
        "camera:",
        ": 0,0 1,0 1,1",
        "camera: 0,0 1,0",
        "camera: 0,0 1,0 1.5,1",
        "camera: 0,0 1,0 1,nan",
        "camera: 0,0 1,0 1",
        "camera: a,b c,d e,f",
    ],
)
def test_what_is_no_polygon_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="three or more corners"):
        PrivacyMasks([text])
