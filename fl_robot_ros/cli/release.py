"""The command `fl_server release`: which model of the fleet goes to the robots."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fl_robot_ros.cli.option_type import full_path
from fl_robot_ros.cli.terminal import number, print_error, say
from fl_robot_ros.cli.yaml_file import read_yaml
from fl_robot_ros.config import ServerSettings, expand_path
from fl_robot_ros.dependency import SERVER_MODULES, require
from fl_robot_ros.errors import FlRobotError, RunRefusedError, SettingError

if TYPE_CHECKING:
    from fl_robot_ros.cloud.history import History
    from fl_robot_ros.cloud.releases import FinishedModel

_DEFAULT_STATE_DIR = ServerSettings.state_dir

_DESCRIPTION = """\
Say which model robots get: without RUN, list the models of finished runs; with
it, release the model of that run. Older ones may be released again.
"""

_EPILOG = """\
examples:
  fl_server release                   the models, newest first
  fl_server release 12                robots get that of run 12
  fl_server release 12 --withdraw     further robots do not

Robots get the model at the end of the next run, first one of them, then a
fifth, then all. Each tries it on its own held-out images before it uses it;
where they refuse it, the others do not get it. To send it without a run:
  fl_server --config server.yaml --num-rounds 0

Exit code: 0 done; 1 not done, and why; 2 invalid command line or setting.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="fl_server release",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=int, nargs="?", metavar="RUN", help="number of a run")
    parser.add_argument(
        "--withdraw", action="store_true", help="take the release of RUN back instead"
    )
    parser.add_argument("--config", type=full_path, metavar="FILE", help="the server's settings")
    parser.add_argument(
        "--state-dir",
        type=full_path,
        metavar="FOLDER",
        help=f"the server's state_dir (default: that of the file, or {_DEFAULT_STATE_DIR})",
    )
    options = parser.parse_args(arguments)
    if options.withdraw and options.run is None:
        parser.error("--withdraw needs the number of a run")
    try:
        state_dir = options.state_dir or _state_dir(options.config)
        # Flower takes a second to load, which --help need not wait for.
        require(SERVER_MODULES)
        from fl_robot_ros.cloud.history import HISTORY_FILE, History

        if not (state_dir / HISTORY_FILE).is_file():
            raise SettingError(f"no fl_server has used {state_dir}; name its --state-dir")
        console = Console(highlight=False)
        with History(state_dir) as history:
            if options.run is None:
                _list(history, console)
            else:
                _release(history, options.run, console, withdraws=options.withdraw)
    except SettingError as error:
        print_error(f"fl_server release: {error}")
        return 2
    except FlRobotError as error:
        print_error(f"fl_server release: {error}")
        return 1
    return 0


def _state_dir(config: Path | None) -> Path:
    """Return the state folder that a file with settings names.

    Raises:
        SettingError: The file cannot be read, or holds no settings.
    """
    content = read_yaml(config) if config else {}
    if not isinstance(content, dict | None):
        raise SettingError(f"{config} holds no settings; expected lines like 'port: 8000'")
    return expand_path(str((content or {}).get("state_dir", _DEFAULT_STATE_DIR)))


def _release(history: History, run: int, console: Console, *, withdraws: bool) -> None:
    """Release the model of a run, or take its release back.

    Raises:
        RunRefusedError: The run has no model.
    """
    releases = history.releases
    model = releases.model(run)
    if model is None:
        runs = ", ".join(str(one.run) for one in releases.models()[:10])
        raise RunRefusedError(f"run {run} has no model; runs with one: {runs or 'none'}")
    name = f"the model of run {run}, round {model.round}"
    if withdraws:
        releases.withdraw(run)
        history.add_event(f"{name}, is withdrawn")
        out = releases.newest_out()
        further = f"get that of run {out.run}" if out else "get none"
        say(console, f"{name}, is withdrawn; further robots {further}")
        return
    releases.release(run)
    history.add_event(f"{name}, is released")
    say(console, f"{name}, is released: robots get it at the end of the next run")
    last = history.last_run()
    if last is not None and last.settings.get("release", "auto") == "auto":
        say(console, "with `release: auto`, a run that trains sends its own model instead;")
        say(console, "fl_server --num-rounds 0 sends this one")


def _list(history: History, console: Console) -> None:
    models = history.releases.models()
    if not models:
        say(console, "no run has a model yet")
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("run", "round", "accuracy"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("finished", "released"):
        table.add_column(column, no_wrap=True)
    table.add_column("state", overflow="fold")
    out = history.releases.newest_out()
    for model in models:
        accuracy = "-" if model.accuracy is None else f"{model.accuracy:.3f}"
        state = _state(model, is_out=out is not None and out.run == model.run)
        times = map(_minute, (model.made, model.released))
        table.add_row(str(model.run), str(model.round), accuracy, *times, state)
    console.print(table)


def _state(model: FinishedModel, *, is_out: bool) -> str:
    if model.released is None:
        return "waits"
    if model.halted:
        return f"halted: {model.halted}"
    robots = number(model.robots, "robot")
    return f"out, to {robots}" if is_out else f"was out, to {robots}"


def _minute(timestamp: float | None) -> str:
    return "-" if timestamp is None else time.strftime("%d %b %H:%M", time.localtime(timestamp))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
