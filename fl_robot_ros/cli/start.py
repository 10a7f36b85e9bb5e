"""Where the console scripts start: an interrupt while a program loads leaves no traceback."""

from functools import partial
from importlib import import_module


def _start(module: str, interrupted: int) -> int:
    """Load a program and run it.

    Args:
        module: Its module.
        interrupted: Exit code after an interrupt that the program itself does not see.

    Returns:
        Its exit code.
    """
    try:
        return int(import_module(module).main())
    except KeyboardInterrupt:
        return interrupted


client = partial(_start, "fl_robot_ros.nodes.client", 0)
perception = partial(_start, "fl_robot_ros.nodes.perception", 0)
streamer = partial(_start, "fl_robot_ros.nodes.streamer", 0)
call = partial(_start, "fl_robot_ros.nodes.call", 130)
dataset = partial(_start, "fl_robot_ros.cli.dataset", 130)
demo = partial(_start, "fl_robot_ros.cli.demo", 130)
predict = partial(_start, "fl_robot_ros.cli.predict", 130)
server = partial(_start, "fl_robot_ros.cli.server", 130)
