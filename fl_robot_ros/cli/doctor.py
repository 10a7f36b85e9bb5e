"""The command `fl_doctor`: what is wrong with a robot, each with its fix."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence

from fl_robot_ros.cli.option_type import full_path, option_type
from fl_robot_ros.config import resolve_server_address
from fl_robot_ros.data_source import SourceKind
from fl_robot_ros.doctor import disk, packages, parameters, server, topics
from fl_robot_ros.doctor.child_process import kill_children
from fl_robot_ros.doctor.examination import examine
from fl_robot_ros.doctor.finding import Check, Level
from fl_robot_ros.doctor.report import write_json, write_report
from fl_robot_ros.doctor.robot_graph import ListenRequest, need_battery
from fl_robot_ros.errors import SettingError

_SECONDS = 5.0
_MOST_SECONDS = 3600.0
# As ROS has it: names of letters, digits and _, each after a slash.
_NAMESPACE = re.compile(r"/|(/[A-Za-z_][A-Za-z0-9_]*)+")
_DESCRIPTION = """\
Say what is wrong with this robot, and what to do about it. Nothing is changed.
"""

_EPILOG = """\
what is looked at:
  packages    of this Python and of worker_python, and whether they load
  parameters  names, values, and the files and folders that they name
  disk        data folder, space, memory, the current model
  ROS         cameras (type, rate, losses), labels, clocks, battery, our nodes
  server      name, port, certificate, and whether it takes this robot

Run it on the robot, in a terminal where ROS is sourced, as the user and with
the ROS_DOMAIN_ID of fl_client; best while cameras and fl_client run. Without
ROS it checks the rest.

examples:
  fl_doctor --params my_robot.yaml
  fl_doctor --namespace robot1 --seconds 20
  fl_doctor --server cloud.example.org:8000 --json

--json prints a list of objects with section, check, level (ok, warning or
problem), text and fix.

exit code: 0 no problem, warnings at most; 1 problems; 2 wrong command line;
130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    results = examine(_checks(options))
    try:
        if options.json:
            found = write_json(results, sys.stdout)
        else:
            found = write_report(results, sys.stdout, width=_width(), has_colour=_has_colour())
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # As `| head` does. Python would say so once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        kill_children()
    return 1 if any(result.level == Level.PROBLEM for result in found) else 0


def _checks(options: argparse.Namespace) -> Iterator[Check]:
    robot = parameters.read_settings(options.params, options.namespace)
    client = robot.client
    yield from packages.checks(client)
    yield from parameters.checks(options.params, options.namespace, robot)
    yield from disk.checks(client, robot.data_dir)
    rules = (*client.learn_when, *client.learn_while)
    battery = client.battery_topic if need_battery(rules) else robot.given.get("battery_topic")
    request = ListenRequest(
        options.namespace,
        client.image_topics if robot.is_given else None,
        options.battery_topic or str(battery or ""),
        options.seconds,
    )
    has_labels = bool(client.topic_labels) or client.dataset_source != SourceKind.CAPTURE
    settings = client if robot.is_given else None
    yield from topics.checks(request, robot.given, settings, has_labels, robot.data_dir)
    yield from server.checks(client, options.server or "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fl_doctor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--params",
        type=full_path,
        metavar="FILE",
        help="the robot's parameter file (default: the default of every setting)",
    )
    parser.add_argument(
        "--server",
        type=option_type(lambda text: resolve_server_address(text, {})),
        metavar="HOST:PORT",
        help="the server (default: that of the parameters or the enrolment)",
    )
    parser.add_argument(
        "--namespace",
        type=_namespace,
        default="/",
        metavar="NAME",
        help="the robot's namespace",
    )
    parser.add_argument(
        "--battery-topic",
        default="",
        metavar="TOPIC",
        help="a sensor_msgs/BatteryState (default: battery_topic, if a rule needs it)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=_SECONDS,
        metavar="SEC",
        help=f"how long to listen to topics (default {_SECONDS:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


@option_type
def _namespace(text: str) -> str:
    """Return a namespace with its leading slash."""
    name = f"/{text.strip('/')}"
    if not _NAMESPACE.fullmatch(name):
        raise SettingError(f"namespace is {text!r}; expected a name such as 'fleet/robot1'")
    return name


@option_type
def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= _MOST_SECONDS:
        raise SettingError(f"{text} s; expected more than 0 and up to {_MOST_SECONDS:g}")
    return value


def _width() -> int | None:
    """Return the columns of the terminal, None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _has_colour() -> bool:
    """Say whether a terminal shows colours, and its user wants them (https://no-color.org)."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not is_plain


if __name__ == "__main__":
    sys.exit(main())
