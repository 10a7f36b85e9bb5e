"""Robots' polls for messages: most of them are answered without the SuperLink.

A robot asks for its next message again and again, and each question costs the SuperLink some
milliseconds, so that waiting robots would slow down those that work. Here a poll waits until a
ServerApp has sent something since this robot was last told that there is nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable

from fl_robot_ros.cloud.superlink import STARTED

# How long a poll waits for a message. Flower's robots give a request up after 30 s.
_HOLD_SEC = 5.0
# A request and its objects reach the SuperLink one after another: a robot that asks in between
# would ask for each object several times.
_QUIET_SEC = 0.03
_MAX_DELAY_SEC = 0.5
_MAX_ROBOTS = 10_000


class PollBoard:
    """Knows which robots may have a message. Belongs to the thread of its event loop.

    Attributes:
        notice_fd: Descriptor of the pipe that the SuperLink's process writes its notices to.
        changes: Number of changes so far.
    """

    def __init__(self, on_start: Callable[[], None]) -> None:
        """Open the pipe.

        Args:
            on_start: Called when a SuperLink has begun, which knows nothing of an earlier one.
        """
        self._on_start = on_start
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_released = False
        self._is_told = False  # a SuperLink that gives no notices is asked each time
        self.changes = 0
        self._read_fd, self.notice_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self.notice_fd, False)
        self._told_nothing: OrderedDict[bytes, int] = OrderedDict()
        self._changed = asyncio.Event()
        self._wake_at = 0.0
        self._wake: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen to the pipe, from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_fd, self._on_notice)

    def release(self) -> None:
        """Let all polls go, and hold none any more; from any thread."""
        self._is_released = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._advance)

    def close(self) -> None:
        """Close the pipe, once the event loop has ended; may be called twice."""
        for descriptor in (self._read_fd, self.notice_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._read_fd = self.notice_fd = -1

    async def may_have_message(self, robot: bytes) -> bool:
        """Wait until there may be a message for a robot, for some seconds at most.

        Args:
            robot: The body of its request, which holds the number of its connection.
        """
        if not self._is_told or self._told_nothing.get(robot) != self.changes:
            return True
        try:
            if not self._is_released:
                await asyncio.wait_for(self._changed.wait(), _HOLD_SEC)
        except TimeoutError:
            return False
        return not self._is_released

    def tell_nothing(self, robot: bytes, changes: int) -> None:
        """Note that there was no message for a robot.

        Args:
            robot: As in `may_have_message`.
            changes: The number of changes before the SuperLink was asked.
        """
        self._told_nothing[robot] = changes
        self._told_nothing.move_to_end(robot)
        if len(self._told_nothing) > _MAX_ROBOTS:
            self._told_nothing.popitem(last=False)

    def _on_notice(self) -> None:
        try:
            notices = os.read(self._read_fd, 65536)
        except BlockingIOError:
            return
        if STARTED in notices:
            self._is_told = True
            self._on_start()
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._wake is None:
            self._wake_at = now + _MAX_DELAY_SEC
        else:
            self._wake.cancel()
        self._wake = loop.call_at(min(now + _QUIET_SEC, self._wake_at), self._advance)

    def _advance(self) -> None:
        """Have every robot ask the SuperLink."""
        self._wake = None
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()
