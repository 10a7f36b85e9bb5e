"""The command `fl_keys`: who may join a fleet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fl_robot_ros.cli.option_type import full_path, option_type
from fl_robot_ros.cli.terminal import number, print_error, say
from fl_robot_ros.config import (
    DEFAULT_KEYS_DIR,
    DEFAULT_SERVER_PORT,
    expand_path,
    resolve_server_address,
)
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.identity.certificates import end_of, hosts_of, own_hosts_of
from fl_robot_ros.identity.key_folder import KeyFolder

_DESCRIPTION = """\
Say who may join a fleet: make its keys, enrol robots, and shut robots out.
"""

_EPILOG = f"""\
On the operator's machine:
  fl_keys init --host cloud.example.org     once for a fleet
  fl_keys robot r1                          once for a robot; writes r1.json
  fl_server --keys-dir {DEFAULT_KEYS_DIR} --host 0.0.0.0 --classes cup phone
On the robot, which gets r1.json and nothing else:
  enrolment: "/etc/fl_robot_ros/r1.json"    a parameter of fl_client

r1.json holds the robot's private key: copy it over a channel that you trust
(scp, a USB stick), and remove it here. A robot that is lost or sold is shut
out with `fl_keys revoke r1`, also from a server that runs. The key folder is
secret: who has it can give robots a model. Keep a copy of it.

exit code: 0 done; 1 not done, and why; 2 invalid command line
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        options.run(options, console)
    except FlRobotError as error:
        print_error(f"fl_keys: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fl_keys",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--keys-dir",
        type=full_path,
        default=expand_path(DEFAULT_KEYS_DIR),
        metavar="FOLDER",
        help=f"the fleet's key folder (default: {DEFAULT_KEYS_DIR})",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    hosts: dict[str, Any] = {
        "nargs": "+",
        "metavar": "HOST",
        "help": "names and addresses under which robots reach the server, without a port; "
        "localhost is always among them",
    }
    init = commands.add_parser("init", parents=[common], help="make the keys of a new fleet")
    init.add_argument("--host", dest="hosts", required=True, action="extend", **hosts)
    init.set_defaults(run=_init)
    host = commands.add_parser(
        "host",
        parents=[common],
        help="make a new certificate for the server, for these hosts; enrolments stay valid",
    )
    host.add_argument("hosts", **hosts)
    host.set_defaults(run=_host)

    robot = commands.add_parser("robot", parents=[common], help="enrol a robot")
    robot.add_argument("name", metavar="NAME", help="the robot's name, in no use so far")
    robot.add_argument(
        "--out", type=full_path, metavar="FILE", help="file for the enrolment (default: NAME.json)"
    )
    robot.add_argument(
        "--server",
        type=option_type(lambda text: resolve_server_address(text, {})),
        metavar="HOST:PORT",
        help="where the robot finds the server (default: the first host of the certificate, port "
        f"{DEFAULT_SERVER_PORT})",
    )
    robot.set_defaults(run=_robot)

    listing = commands.add_parser("list", parents=[common], help="show the fleet and its robots")
    listing.set_defaults(run=_list)

    revoke = commands.add_parser("revoke", parents=[common], help="shut a robot out")
    revoke.add_argument("name", metavar="NAME", help="the robot's name")
    revoke.set_defaults(run=_revoke)
    return parser


def _init(options: argparse.Namespace, console: Console) -> None:
    folder = KeyFolder.create(options.keys_dir, options.hosts)
    say(console, f"made the keys of a new fleet in {folder.path}; keep a copy, and keep it secret")
    _show_server(folder, console)
    say(console, "next: fl_keys robot NAME, and keys_dir in the settings of fl_server")


def _host(options: argparse.Namespace, console: Console) -> None:
    folder = KeyFolder(options.keys_dir)
    folder.renew_server(options.hosts)
    _show_server(folder, console)
    say(console, "a server that runs takes it at its next start")


def _robot(options: argparse.Namespace, console: Console) -> None:
    folder = KeyFolder(options.keys_dir)
    file = options.out or Path(f"{options.name}.json").absolute()
    enrolment = folder.enrol(options.name, file, options.server or _default_server(folder))
    say(console, f"enrolled {enrolment.robot} for the server {enrolment.server_address}")
    say(console, f"copy {file} to the robot, where fl_client's parameter enrolment names it,")
    say(console, "and remove it here: it is the robot's private key")


def _default_server(folder: KeyFolder) -> str:
    certificate = folder.server_certificate()
    host = (own_hosts_of(certificate) or hosts_of(certificate))[0]
    return f"{f'[{host}]' if ':' in host else host}:{DEFAULT_SERVER_PORT}"


def _list(options: argparse.Namespace, console: Console) -> None:
    folder = KeyFolder(options.keys_dir)
    robots = folder.robots().robots
    say(console, f"fleet {folder.model_key_id()} in {folder.path}")
    _show_server(folder, console)
    active = sum(not robot.revoked for robot in robots)
    say(console, f"{number(active, 'robot')}, {len(robots) - active} revoked")
    if not robots:
        return
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("robot", overflow="fold")
    for column in ("enrolled", "revoked", "key"):
        table.add_column(column, no_wrap=True)
    for robot in robots:
        table.add_row(robot.name, robot.created[:10], robot.revoked[:10] or "-", robot.key_id)
    console.print(table)


def _show_server(folder: KeyFolder, console: Console) -> None:
    certificate = folder.server_certificate()
    end = min(end_of(certificate), end_of(folder.authority()))
    names = ", ".join(hosts_of(certificate))
    say(console, f"server certificate for {names}, until {end:%Y-%m-%d}")


def _revoke(options: argparse.Namespace, console: Console) -> None:
    KeyFolder(options.keys_dir).revoke(options.name)
    say(console, f"revoked {options.name}; a server that runs shuts it out at once")


if __name__ == "__main__":
    sys.exit(main())
