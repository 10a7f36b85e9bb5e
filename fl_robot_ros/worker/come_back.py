"""When this robot may offer itself again, as the server says."""

from __future__ import annotations

import json
import math
import random

from fl_robot_ros.errors import NoRunError
from fl_robot_ros.one_line import one_line

# The status of a refusal because no run is on.
TOO_EARLY = 425
_MOST_SEC = 366 * 86400.0
# Robots come within this time after the moment that they were told, and not all at once.
_SPREAD_SEC = 5.0


def come_back_sec(told: object) -> float:
    """Return for how many s to stay away; 0.0 for what is no time above 0.

    Args:
        told: What the server said.
    """
    if not isinstance(told, (int, float)) or told is True or not math.isfinite(told) or told <= 0:
        return 0.0
    return min(float(told), _MOST_SEC) + random.uniform(0.0, _SPREAD_SEC)


def no_run(server_address: str, text: str) -> NoRunError:
    """Return the error of a robot that came too early.

    Args:
        server_address: host:port.
        text: The body of the refusal.
    """
    try:
        values = json.loads(text)
        detail, told = str(values["detail"]), values.get("come_back_sec")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        detail, told = "no run is on", None
    return NoRunError(f"{one_line(detail, 300)}; server {server_address}", come_back_sec(told))
