"""The command `fl_demo`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fl_robot_ros.cli.option_type import full_path, setting_value, whole_number
from fl_robot_ros.config import StreamerSettings
from fl_robot_ros.demo.plan import DemoPlan
from fl_robot_ros.demo.scene import SCENE_NAMES
from fl_robot_ros.demo.screen import Screen
from fl_robot_ros.dependency import DEMO_MODULES, require
from fl_robot_ros.errors import FlRobotError, MissingPackageError

_DESCRIPTION = """\
Watch two robots learn from their cameras together, on this machine, with real parts: rosbags,
DDS, Flower, TensorFlow. Each robot sees some of the signs; together they learn all of them, and
no image leaves a robot.
"""

_NOTE = """
Two kinds of images measure accuracy. Held out: some of each robot's own, of the
signs that it sees, as on a real robot. Test frames: those of another recording,
of all signs, that no robot has seen.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    plan = _parse(arguments)
    console = Console()
    try:
        require(DEMO_MODULES)
        from fl_robot_ros.demo.run import run_demo

        report = run_demo(plan, Screen(console))
    except MissingPackageError as error:
        print(f"fl_demo: {error}", file=sys.stderr)
        return 1
    except FlRobotError as error:
        print(f"fl_demo: {error}", file=sys.stderr)
        print(f"fl_demo: the processes' output is in {plan.log_dir}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fl_demo: stopped", file=sys.stderr)
        return 130
    console.print(_NOTE)
    console.print(report.rounds_table())
    console.print(report.comparison_table())
    console.print(report.conclusion(), highlight=False)
    lines = [
        f"{robot}'s perception runs {_short(path)}" for robot, path in report.model_paths.items()
    ]
    lines += [
        f"image {_short(plan.out_dir / 'report.png')}",
        f"figures {_short(plan.out_dir / 'report.json')}",
        f"{report.total_sec:.0f} s in all, {report.median_overhead_sec:.1f} s median overhead a "
        f"round",
    ]
    for line in lines:
        # A path stays whole, so that it can be copied.
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def _short(path: str | Path) -> str:
    """Return a path as seen from the current folder, where it lies in it."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)


def _parse(arguments: Sequence[str] | None) -> DemoPlan:
    """Return the plan that the command line asks for."""
    default = DemoPlan()
    parser = argparse.ArgumentParser(
        prog="fl_demo",
        description=_DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--scene", choices=SCENE_NAMES, default=default.scene, help="what the robots look at"
    )
    parser.add_argument(
        "--out-dir",
        type=full_path,
        default=str(default.out_dir),
        metavar="FOLDER",
        help="folder for all that is written",
    )
    whole = {
        "frames": "labelled camera frames for each robot",
        "test_frames": "labelled camera frames in the test bag",
        "rounds": "rounds of the federation",
        "local_epochs": "epochs that a robot trains in a round",
        "batch_size": "images in a training batch",
        "seed": "seed of scene and training",
    }
    for name, text in whole.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=whole_number(0 if name == "seed" else 1),
            default=getattr(default, name),
            metavar="N",
            help=text,
        )
    parser.add_argument(
        "--playback-speed",
        type=setting_value(StreamerSettings, "playback_speed"),
        default=default.playback_speed,
        metavar="X",
        help="speed of the bag that is played over DDS, against recorded time",
    )
    return dataclasses.replace(default, **vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
