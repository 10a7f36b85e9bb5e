"""Entry points of the console scripts; a package that fails to import is reported in one line."""

import sys
from functools import partial
from importlib import import_module

from fl_robot_ros.dependency import describe_unimportable


def _start(module: str, interrupted: int) -> int:
    """Load a program and run it.

    Args:
        module: Its module.
        interrupted: Exit code after an interrupt while the program loads.

    Returns:
        Its exit code; 1 if a package cannot be imported.
    """
    try:
        return int(import_module(module).main())
    except KeyboardInterrupt:
        return interrupted
    except ImportError as error:
        if (error.name or "").startswith("fl_robot_ros"):
            raise
        print(f"fl_{module.rpartition('.')[2]}: {describe_unimportable(error)}", file=sys.stderr)
        return 1


client = partial(_start, "fl_robot_ros.nodes.client", 0)
perception = partial(_start, "fl_robot_ros.nodes.perception", 0)
streamer = partial(_start, "fl_robot_ros.nodes.streamer", 0)
call = partial(_start, "fl_robot_ros.nodes.call", 130)
dataset = partial(_start, "fl_robot_ros.cli.dataset", 130)
demo = partial(_start, "fl_robot_ros.cli.demo", 130)
keys = partial(_start, "fl_robot_ros.cli.keys", 130)
model = partial(_start, "fl_robot_ros.cli.model", 130)
predict = partial(_start, "fl_robot_ros.cli.predict", 130)
server = partial(_start, "fl_robot_ros.cli.server", 130)
