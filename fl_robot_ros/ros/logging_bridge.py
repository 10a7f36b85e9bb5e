"""Forwards the package's Python log records to a node's logger."""

from __future__ import annotations

import logging

from rclpy.node import Node

from fl_robot_ros.paths import PACKAGE


class LoggingBridge(logging.Handler):
    """Passes the package's log records to a node's logger, until it is closed."""

    def __init__(self, node: Node) -> None:
        """Begin to pass records on."""
        super().__init__(logging.INFO)
        self._logger = node.get_logger()
        package = logging.getLogger(PACKAGE)
        package.setLevel(logging.INFO)
        package.addHandler(self)

    def close(self) -> None:
        """Stop passing records on."""
        logging.getLogger(PACKAGE).removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
