"""Start all of one robot, `fl_client` and `fl_perception`, under one namespace."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    share = FindPackageShare("fl_robot_ros")
    entities = []
    for node in ("client", "perception"):
        entities.append(
            DeclareLaunchArgument(
                f"{node}_params_file",
                default_value=PathJoinSubstitution([share, "config", f"{node}.yaml"]),
                description=f"YAML file with the parameters of fl_{node}.",
            )
        )
    entities.append(
        DeclareLaunchArgument(
            "namespace",
            default_value="",
            description="Namespace of the robot's nodes, topics and services.",
        )
    )
    entities.append(
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            description="Lowest severity that is logged.",
            choices=["debug", "info", "warn", "error", "fatal"],
        )
    )
    for node in ("client", "perception"):
        entities.append(
            IncludeLaunchDescription(
                PathJoinSubstitution([ThisLaunchFileDir(), f"{node}.launch.py"]),
                launch_arguments={
                    "params_file": LaunchConfiguration(f"{node}_params_file"),
                    "namespace": LaunchConfiguration("namespace"),
                    "log_level": LaunchConfiguration("log_level"),
                }.items(),
            )
        )
    return LaunchDescription(entities)
