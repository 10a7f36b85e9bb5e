"""Detects the end of the parent process, for nodes that should end with it."""

from __future__ import annotations

import os

# Set by programs that may die without ending the nodes that they started, as launch does at
# SIGTERM. Without it, nodes started with `nohup`, `setsid` or in the background outlive the shell.
END_WITH_PARENT = "FL_ROBOT_ROS_END_WITH_PARENT"

# Read at import: the parent may end before the node is made.
_parent_pid = os.getppid()


def is_parent_gone() -> bool:
    """Say whether the environment asks for an end with the parent, and the parent is gone."""
    return bool(os.environ.get(END_WITH_PARENT)) and os.getppid() != _parent_pid


def _adopt_parent() -> None:
    """Note the new parent process after a fork."""
    global _parent_pid
    _parent_pid = os.getppid()


os.register_at_fork(after_in_child=_adopt_parent)
