"""Runs one launch file as `ros2 launch FILE NAME:=VALUE ...` does, without ros2cli."""

from __future__ import annotations

import sys

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource


def main() -> int:
    path, *arguments = sys.argv[1:]
    service = LaunchService(argv=arguments)
    given = [tuple(argument.split(":=", 1)) for argument in arguments]
    source = AnyLaunchDescriptionSource(path)
    included = IncludeLaunchDescription(source, launch_arguments=given)
    service.include_launch_description(LaunchDescription([included]))
    return int(service.run())


if __name__ == "__main__":
    sys.exit(main())
