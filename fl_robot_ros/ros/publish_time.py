"""When a message was published, by the publisher's clock where the middleware provides it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.subscription import Subscription

# rclpy of Humble gives a callback the message alone.
_GIVES_MESSAGE_INFO = hasattr(Subscription, "CallbackType")


def with_publish_time(callback: Callable[[Any, int], None]) -> Callable[..., None]:
    """Return a subscription's callback that passes message and time on.

    Args:
        callback: Takes the message and the time of its publication in ns since the epoch, or of
            its arrival where the middleware does not provide that.
    """

    def take_with_info(message: Any, info: Any) -> None:
        callback(message, int(info.get("source_timestamp") or 0) or time.time_ns())

    def take(message: Any) -> None:
        callback(message, time.time_ns())

    return take_with_info if _GIVES_MESSAGE_INFO else take
