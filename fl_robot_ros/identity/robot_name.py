"""Names under which robots are enrolled."""

from __future__ import annotations

import re

from fl_robot_ros.errors import IdentityError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_robot_name(name: str) -> str:
    """Return the name of a robot.

    Raises:
        IdentityError: The name is not fit for messages and file names.
    """
    if not _NAME.fullmatch(name):
        raise IdentityError(
            f"the robot's name is {name[:80]!r}; expected 1 to 64 letters, digits, '.', '_' or "
            "'-', with a letter or digit first"
        )
    return name
