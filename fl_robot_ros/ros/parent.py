"""Whether the program that started this process is gone, where the process is to end with it."""

from __future__ import annotations

import os

# Set for the nodes that they start by programs that may die without ending them: launch does so at
# SIGTERM. Nodes that a shell started with `nohup`, `setsid` or in the background outlive it.
END_WITH_PARENT = "FL_ROBOT_ROS_END_WITH_PARENT"

# Asked at the import, because the parent may be gone before the node is made.
_parent_pid = os.getppid()


def is_parent_gone() -> bool:
    """Say whether the environment asks for an end with the parent, and the parent is gone."""
    return bool(os.environ.get(END_WITH_PARENT)) and os.getppid() != _parent_pid


def _adopt_parent() -> None:
    """Take a new parent process for granted, after a fork."""
    global _parent_pid
    _parent_pid = os.getppid()


os.register_at_fork(after_in_child=_adopt_parent)
