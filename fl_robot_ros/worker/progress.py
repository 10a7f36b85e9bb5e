"""What a robot's work tells its parent process while it goes on: JSON lines.

The fleet worker writes one JSON object a line, and the ROS node reads them. Under
`flower-supernode` nobody reads, and nothing is written.
"""

from __future__ import annotations

import json
from typing import Any, TextIO


class ProgressWriter:
    """Writes events as JSON lines; without a stream it writes nothing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def event(self, name: str, **values: Any) -> None:
        """Write one event.

        Args:
            name: `connecting`, `reading`, `waiting`, `prepared`, `training`, `evaluating`,
                `delivering`, `delivered`, `cancelled` or `failed`.
            values: What belongs to it, ready for JSON.
        """
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps({"event": name, **values}) + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            # The parent is gone; the worker notices that by itself and ends.
            self._stream = None
